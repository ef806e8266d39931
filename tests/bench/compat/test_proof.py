"""Each implementation is tried on the torch that runs; if wrong, its smallest input is named."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.compat import proof
from lossbench.bench.compat.proof import SIZES, contract_failure, prove, trials_of


def stand_in(monkeypatch, implementation):
    registry = SimpleNamespace(implementation=lambda _loss, _variant: implementation)
    monkeypatch.setattr(proof, "impls", registry)


def off_from(rows):
    """Return an implementation with a value that is wrong for a batch of a size or more."""

    class Off(impls.implementation("center_mse", "vectorized").builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            return type(out)(out.loss * (1.001 if len(embeddings) >= rows else 1))

    return replace(impls.implementation("center_mse", "vectorized"), variant="off", builder=Off)


def test_a_right_implementation_passes_every_trial():
    found = prove("center_mse", "fused", "cpu")
    trials = list(trials_of(impls.implementation("center_mse", "fused"), "cpu"))
    assert (found.standing, found.reason, found.smallest) == ("right", "", "")
    assert found.trials == len(trials) > len(SIZES)


@pytest.mark.parametrize(("rows", "smallest"), [(1, "4x3, C=2"), (13, "17x16, C=40")])
def test_a_wrong_one_names_the_smallest_input(monkeypatch, rows, smallest):
    implementation = off_from(rows)
    failures = [bool(proof._failure(t, implementation)) for t in trials_of(implementation, "cpu")]
    stand_in(monkeypatch, implementation)
    found = prove("center_mse", "off", "cpu")
    assert found.standing == "wrong"
    assert found.smallest.startswith(smallest)
    assert found.reason.startswith("out.loss is off by 1.0e-03")
    assert found.trials == failures.index(True)


def test_an_error_is_wrong_and_told(monkeypatch):
    class Raising(impls.implementation("center_mse", "vectorized").builder):
        def forward(self, **_inputs):
            raise RuntimeError("no such kernel\nand more")

    entry = impls.implementation("center_mse", "vectorized")
    stand_in(monkeypatch, replace(entry, variant="off", builder=Raising))
    found = prove("center_mse", "off", "cpu")
    assert (found.standing, found.reason) == ("wrong", "raises RuntimeError: no such kernel")


def test_what_cannot_run_or_departs_is_not_tried():
    assert prove("arcface", "fused+compile[reduce-overhead]", "cpu").reason == (
        "runs on cuda, not on cpu"
    )
    assert prove("arcface", "fused+compile[reduce-overhead]", "cpu").standing == "unsupported"
    departing = impls.implementation("sphereface", "pml")
    found = prove("sphereface", "pml", "cpu")
    assert found.standing in ("departs", "unsupported")
    assert found.reason in (departing.departs, departing.unsupported("cpu", torch.float32))


def test_a_variant_of_several_processes_is_tried_by_one_and_needs_its_torch():
    sharded = impls.implementation("softmax_center", "sharded")
    found = prove("softmax_center", "sharded", "cpu")
    outdated = sharded.outdated()
    assert found.standing == ("unsupported" if outdated else "right"), found
    assert found.reason == (outdated or "")
    assert not torch.distributed.is_initialized()


def test_a_broken_contract_is_told():
    case = Case("arcface", 12, 8, 5)
    entry = impls.implementation("arcface", "vectorized")
    assert contract_failure(case, entry) == ""
    without = replace(entry, leaves_out=("logits",))
    assert contract_failure(case, without) == "computes loss, logits, not loss"


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["fused+compile", "fused+compile[max-autotune]"])
def test_every_mode_is_tried_on_a_size_that_vectorised_code_is_made_for(name, quick):
    implementation = impls.implementation("triplet_batch_hard", name)
    trials = list(trials_of(implementation, "cpu", quick=quick))
    assert max(trial.batch for trial in trials if isinstance(trial, Case)) >= 16
    assert any(not isinstance(trial, Case) for trial in trials)


def test_quick_trials_are_fewer_for_compiled_variants_only():
    def trials(name, quick):
        return list(trials_of(impls.implementation("arcface", name), "cpu", quick=quick))

    assert len(trials("fused+compile", True)) == 2 < len(trials("fused+compile", False))
    assert trials("fused", True) == trials("fused", False)


def test_recompilations_of_other_trials_do_not_count(monkeypatch):
    trials = [Case("center_mse", batch, 8, 5) for batch in (4, 5)]
    monkeypatch.setattr(proof, "trials_of", lambda *_asked, **_named: trials)
    implementation = impls.implementation("center_mse", "vectorized+compile")
    # One size takes three: a second one for any batch, and a third one for strided inputs.
    with torch._dynamo.config.patch(recompile_limit=3):
        assert prove("center_mse", implementation.variant, "cpu").standing == "right"
