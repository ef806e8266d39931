"""What is timed is what was judged: wrong results of timed calls are refused, and only these."""

import re

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.measure.judge import RefusedTimes, Times, measure_times
from lossbench.bench.measure.trial import sample_modules
from lossbench.bench.selftest.honest import HONEST
from lossbench.bench.selftest.timed_cheaters import (
    TIMED_CHEATS,
    TIMED_LOSS,
    idle,
    later,
    one_buffer,
    working_on,
)
from lossbench.bench.timing.sampling import Sampling
from lossbench.impls.registry import register
from tests.makers.cheaters import cheater, reason_to_refuse, reason_when_timed
from tests.makers.outside import registry_kept

CASE = Case(TIMED_LOSS, batch=16, dim=8, classes=5)


@pytest.fixture(autouse=True)
def _one_thread():
    """Have torch compute with one thread, whose own threads do not spin."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", TIMED_CHEATS)
def test_a_cheat_passes_the_comparison_and_is_refused_when_it_is_timed(name):
    cheat, expected = TIMED_CHEATS[name]
    entered = cheater(TIMED_LOSS, cheat)
    assert reason_to_refuse(CASE, entered) == ""
    assert re.search(expected, reason_when_timed(CASE, entered))


def test_results_that_are_declared_to_be_overwritten_are_compared_at_once():
    overwriting = cheater(TIMED_LOSS, one_buffer)
    assert "changed after its call" in reason_when_timed(CASE, overwriting)
    assert reason_when_timed(CASE, overwriting, overwritten=("timed",)) == ""
    wrong = cheater(TIMED_LOSS, later(idle))
    assert " is off by " in reason_when_timed(CASE, wrong, overwritten=("timed",))


@pytest.mark.parametrize("name", HONEST)
def test_what_keeps_something_honestly_passes(name):
    assert reason_when_timed(CASE, cheater(TIMED_LOSS, HONEST[name])) == ""


@pytest.mark.parametrize("loss", ["center_mse", "triplet_batch_hard", "sphereface"])
def test_idle_contenders_of_other_losses_are_refused(loss):
    case = Case(loss, batch=16, dim=8, classes=5)
    assert " is off by " in reason_when_timed(case, cheater(loss, later(idle)))


@pytest.mark.parametrize("sizes", [{"classes": 3000, "dim": 128}, {"dtype": "bfloat16"}])
def test_idle_contenders_are_refused_at_other_sizes(sizes):
    case = Case(TIMED_LOSS, **{"batch": 16, "dim": 8, "classes": 5, **sizes})
    assert " is off by " in reason_when_timed(case, cheater(TIMED_LOSS, later(idle)))


def test_a_table_of_parameters_by_identity_is_refused_though_most_of_them_stay():
    def tabled(module, forward, embeddings, labels):
        weight = next(module.parameters())
        table = module.__dict__.setdefault("table", weight.detach().clone())
        # The gradient is right, and the value is that of the first weight.
        weight.data, kept = table, weight.data
        out = forward(embeddings, labels)
        weight.data = kept
        return out

    case = Case(TIMED_LOSS, batch=16, dim=128, classes=3000)
    assert "out.loss is off" in reason_when_timed(case, cheater(TIMED_LOSS, tabled))


def test_one_cheat_costs_its_own_times_alone():
    with registry_kept():
        register(TIMED_LOSS, "idle")(cheater(TIMED_LOSS, later(idle)).builder)
        found = measure_times(CASE, ("reference", "idle", "fused"), Sampling(0.1))
    assert isinstance(found["idle"], RefusedTimes)
    assert found["idle"].reason.startswith("when timed: ")
    assert all(isinstance(found[name], Times) for name in ("reference", "fused"))
    assert found["fused"].step.speedup is not None


def test_every_variant_of_a_loss_with_near_ties_passes():
    case = Case("triplet_batch_hard", batch=128, dim=64, classes=10, data="digits")
    workload = workload_of(case)
    modules = {
        entry.variant: workload.module(entry)
        for entry in impls.implementations(case.loss)
        if not (entry.unsupported("cpu", torch.float32) or entry.compiled or entry.departs)
    }
    assert sample_modules(workload, modules, Sampling(0.5)).refusals == {}


def test_modules_without_the_reference_are_timed_too():
    workload = workload_of(CASE)
    modules = {"fused": workload.module(impls.implementation(TIMED_LOSS, "fused"))}
    sampled = sample_modules(workload, modules, Sampling(0.05))
    assert sampled.refusals == {}
    assert sampled.timings["step"]["fused"].speedup is None


def test_the_timed_module_checks_its_inputs_unless_told_otherwise(monkeypatch):
    built, build = [], impls.Implementation.build

    def noted(self, *, validate=True, **sizes):
        built.append((self.variant, validate))
        return build(self, validate=validate, **sizes)

    monkeypatch.setattr(impls.Implementation, "build", noted)
    measure_times(CASE, ("fused",), Sampling(0.02))
    measure_times(CASE, ("fused",), Sampling(0.02), validate=False)
    assert [validate for variant, validate in built if variant == "fused"] == [True, False]


def test_an_honest_module_is_not_blamed_for_the_thread_of_another():
    entries = {
        "reference": impls.implementation(TIMED_LOSS, "reference"),
        "works on": cheater(TIMED_LOSS, later(working_on, calls=5)),
        "copies": cheater(TIMED_LOSS, HONEST["honest, copies its inputs"]),
    }
    workload = workload_of(CASE)
    modules = {name: workload.module(entry) for name, entry in entries.items()}
    assert set(sample_modules(workload, modules, Sampling(0.1)).refusals) == {"works on"}
