"""``impls.build``: the recommended or the named variant, and the reason for it."""

from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.impls.choice import Choice
from lossbench.impls.estimate import CostCurve
from lossbench.impls.recommended import Sheet, Shipped
from lossbench.impls.torch_release import release_text, running_release
from tests.conftest import name_of, supported

SIZES = {"num_classes": 5, "embedding_dim": 4}


# The size of the shared sheet; each variant's curve is its time at any size, times the batch.
AT = (64, 128, 1000)


def sheet(seconds, sizes=(AT,), modelled=True, worse=(), proven=True, **changes):
    """Return a sheet: the variants have these times at batch 64, in proportion to the batch."""
    kind = {"machine": "here", "measured": "2026-01-02", "device": "cpu", "dtype": "float32"}
    kind["torch"] = torch.__version__
    variants = {
        name: Shipped(
            {size: s * size[0] / 64 for size in sizes},
            CostCurve((s, 0.0, 0.0), sizes, (0.0,) * len(sizes)),
            modelled,
            proven,
            worse if name != "reference" else (),
        )
        for name, s in seconds.items()
    }
    return Sheet(**{**kind, **changes}, variants=variants)


CHOICE = "lossbench.impls.choice"
FASTER = {"reference": 3e-3, "vectorized": 2e-3, "fused": 1e-3}


@pytest.fixture
def table(monkeypatch):
    def put(*sheets, loss="arcface"):
        monkeypatch.setattr(f"{CHOICE}.recommendations", lambda: {loss: sheets})

    # As on a release of torch that every variant is proven on.
    monkeypatch.setattr(f"{CHOICE}.proven_releases", lambda: (release_text(running_release()),))
    return put


def test_an_explicit_variant_is_built_and_says_so():
    module = impls.build("arcface", "vectorized", **SIZES)
    assert module.choice == Choice("arcface", "vectorized", "as asked for")
    assert str(module.choice) == "arcface: vectorized, as asked for"


def test_auto_tells_of_a_torch_that_was_not_measured(table):
    table(sheet(FASTER, torch="2.1.0+cpu"))
    choice = impls.build("arcface", batch=64, num_classes=1000, embedding_dim=128).choice
    assert choice.variant == "fused"
    assert choice.reason.endswith("classes 1000 on here, measured with torch 2.1")


def test_auto_tells_of_a_torch_that_nothing_is_proven_on(table, monkeypatch):
    table(sheet(FASTER))
    monkeypatch.setattr(f"{CHOICE}.proven_releases", lambda: ("2.1", "2.2"))
    module = impls.build("arcface", batch=64, num_classes=1000, embedding_dim=128)
    here = release_text(running_release())
    expected = f"right on torch 2.1, 2.2, not tried on {here}: `lossbench compat` tries it"
    assert module.choice.variant == "fused"
    assert module.choice.reason.endswith(expected)


def test_on_another_torch_what_is_not_proven_or_compiled_is_passed_over(table):
    table(sheet(FASTER, proven=False), loss="island")
    arguments = {"batch_size": 64, "num_classes": 1000, "embedding_dim": 128}
    assert impls.build("island", batch=64, **arguments).choice.variant == "fused"
    reference = sheet({"reference": 3e-3}).variants
    other = sheet(FASTER, proven=False, torch="2.1.0")
    table(replace(other, variants={**other.variants, **reference}), loss="island")
    choice = impls.build("island", batch=64, **arguments).choice
    assert choice.variant == "reference"
    assert "is not proven on torch" in str(choice)


def test_auto_takes_the_fastest_at_a_measured_size_and_explains_it(table):
    table(sheet(FASTER))
    choice = impls.build("arcface", batch=64, num_classes=1000, embedding_dim=128).choice
    assert (choice.variant, choice.machine, choice.measured) == ("fused", "here", "2026-01-02")
    assert choice.size == {"batch": 64, "dim": 128, "classes": 1000}
    assert choice.reason == (
        "3.0 times as fast as the reference at batch 64, dim 128, classes 1000 on here"
    )


def test_another_size_is_modelled_and_says_so(table):
    table(sheet(FASTER, sizes=(AT, (256, 128, 1000))))
    choice = impls.build("arcface", batch=129, num_classes=900, embedding_dim=64).choice
    assert choice.variant == "fused"
    assert choice.reason.endswith("classes 900 on here, modelled from 2 measured sizes")


def test_a_size_out_of_reach_is_extrapolated_and_says_so(table):
    table(sheet(FASTER))
    choice = impls.build("arcface", batch=641, num_classes=1000, embedding_dim=128).choice
    assert choice.reason.endswith("extrapolated from 1 measured size")


def test_without_a_batch_the_largest_is_taken_and_told(table):
    table(sheet(FASTER, sizes=(AT, (256, 128, 1000))))
    choice = impls.build("arcface", num_classes=1000, embedding_dim=128).choice
    assert choice.size["batch"] == 256
    assert choice.reason.endswith("no batch was given")


def test_what_cannot_run_here_is_passed_over_and_told(table, monkeypatch):
    table(sheet(FASTER))
    fused = impls.implementation("arcface", "fused")
    monkeypatch.setitem(vars(fused), "since", (99, 0))
    choice = impls.build("arcface", batch=64, **SIZES).choice
    assert choice.variant == "vectorized"
    (passed_over,) = choice.passed_over
    assert str(passed_over).startswith("fused would be 2.0 times as fast, but it needs torch 99.0")
    with pytest.raises(ValueError, match=r"arcface: fused needs torch 99\.0 or later"):
        impls.build("arcface", "fused", **SIZES)


def test_auto_passes_over_what_leaves_out_an_output_that_is_needed(table):
    table(sheet(FASTER))
    assert impls.build("arcface", batch=64, **SIZES).choice.variant == "fused"
    module = impls.build("arcface", batch=64, needs=("logits",), **SIZES)
    assert module.choice.variant == "vectorized"
    assert "fused would be 2.0 times as fast, but it does not compute logits" in str(module.choice)
    assert module(torch.randn(8, 4), torch.arange(8) % 5).logits.shape == (8, 5)


@pytest.mark.parametrize(
    ("loss", "faster", "asked", "reason"),
    [
        ("arcface", "fused+compile", {"auto": "compiled"}, 'auto="compiled" admits it'),
        ("center", "sparse", {"sparse": True}, "sparse=True admits it"),
        ("normface", "pml", None, "needs pytorch_metric_learning: name it to build it"),
    ],
)
def test_auto_tells_what_it_excludes_and_what_admits_it(table, loss, faster, asked, reason):
    table(sheet({"reference": 3e-3, faster: 1e-5}), loss=loss)
    choice = impls.build(loss, batch=64, **SIZES).choice
    assert choice.variant == "reference"
    (passed_over,) = choice.passed_over
    assert (passed_over.variant, passed_over.gain) == (faster, pytest.approx(300))
    assert passed_over.reason.endswith(reason)
    assert f"{faster} would be 300 times as fast, but" in str(choice)
    if asked:
        assert impls.build(loss, batch=64, **asked, **SIZES).choice.variant == faster


@pytest.mark.parametrize(
    ("seconds", "gain"), [(2.95e-3, None), (2.9e-3, "1.03 times"), (1e-3, "3.0")]
)
def test_auto_tells_only_of_what_gains_more_than_counts_as_the_same(table, seconds, gain):
    table(sheet({"reference": 3e-3, "sparse": seconds}), loss="center")
    choice = impls.build("center", batch=64, **SIZES).choice
    told = [str(each) for each in choice.passed_over]
    assert [gain in line for line in told] == ([True] if gain else [])


def test_what_is_worse_on_degenerate_inputs_is_passed_over(table):
    table(sheet(FASTER, worse=("zero row",)))
    choice = impls.build("arcface", batch=64, **SIZES).choice
    assert choice.variant == "reference"
    assert "is worse than the reference on zero row" in str(choice)


def test_a_variant_that_leaves_out_what_is_needed_is_refused_with_those_that_do_not():
    with pytest.raises(ValueError, match="arcface: fused does not compute logits; take") as caught:
        impls.build("arcface", "fused", needs=["logits"], **SIZES)
    (message,) = str(caught.value).splitlines()
    named = message.rpartition(": ")[2].split(", ")
    assert named[:2] == ["reference", "vectorized"]
    assert {"fused", "fused+compile", "pml"}.isdisjoint(named)
    built = impls.build("arcface", "vectorized", needs=["loss", "logits"], **SIZES)
    assert built.choice.reason == "as asked for"


@pytest.mark.parametrize("variant", ["auto", "reference"])
@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (("scores",), "arcface has no output 'scores'; it has: loss, logits"),
        ("logits", "arcface: needs must be a tuple of loss, logits, got 'logits'"),
    ],
)
def test_an_output_that_there_is_not_is_told(variant, needs, message):
    with pytest.raises(ValueError, match=message):
        impls.build("arcface", variant, needs=needs, **SIZES)


@pytest.mark.parametrize("loss", impls.losses(), ids=lambda loss: loss.name)
def test_auto_computes_every_output_that_is_needed(loss):
    case = Case(loss.name, batch=8, dim=4, classes=5)
    module = impls.build(loss.name, batch=8, needs=loss.outputs, **case.arguments)
    assert None not in module(**Workload.of(case).leaves())


def test_a_loss_that_nobody_has_measured_is_built_as_its_reference(table):
    table(loss="island")
    choice = impls.build("arcface", device="cpu", batch=8, **SIZES).choice
    assert (choice.variant, choice.machine, choice.size) == ("reference", "", {})
    assert choice.reason == (
        "as nobody has measured this loss; `lossbench choose arcface --measure` does"
    )


def test_where_nothing_is_faster_the_reference_is_taken(table):
    table(sheet({"reference": 1e-3, "fused": 2e-3}))
    assert (
        "the fastest at dim 4, classes 5 on here" in impls.build("arcface", **SIZES).choice.reason
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"device": "cuda"},
            r"nothing is recommended for cuda float32, only for cpu float32; name",
        ),
        ({"dtype": torch.bfloat16}, "--dtype bfloat16 --measure` finds one"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"variant": "fuesd"}, "arcface has no variant 'fuesd'; it has: reference"),
        ({"margni": 1}, "arcface: unknown argument 'margni'; it takes: num_classes"),
        ({"auto": "fast"}, "auto must be 'eager' or 'compiled', got 'fast'"),
        ({"variant": "fused", "sparse": True}, "auto and sparse are for variant='auto'"),
        ({"variant": "fused", "device": "mps"}, "arcface: fused runs on cpu, cuda, not on mps"),
    ],
)
def test_what_cannot_be_built_is_told_with_the_choices(table, arguments, message):
    table(sheet(FASTER))
    with pytest.raises(ValueError, match=message):
        impls.build("arcface", **arguments, **SIZES)


def test_an_unknown_loss_is_told():
    for variant in ("auto", "fused"):
        with pytest.raises(ValueError, match="unknown loss 'arcfaec'; the losses are: softmax"):
            impls.build("arcfaec", variant)


def test_the_module_has_the_references_values_in_its_dtype():
    torch.manual_seed(0)
    module = impls.build("arcface", "auto", batch=8, **SIZES)
    torch.manual_seed(0)
    reference = impls.build("arcface", "reference", **SIZES)
    x, labels = torch.randn(8, 4), torch.randint(5, (8,))
    torch.testing.assert_close(module(x, labels).loss, reference(x, labels).loss)
    double = impls.build("arcface", "fused", dtype=torch.float64, **SIZES)
    assert double(x.double(), labels).loss.dtype == torch.float64
    with pytest.raises(ValueError, match="embeddings must be"):
        module(x[:, :3], labels)


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_auto_builds_every_loss_and_steps(loss):
    case = Case(loss, batch=8, dim=4, classes=5)
    module = impls.build(loss, batch=8, **case.arguments)
    assert module.choice.loss == loss
    outcome = Workload.of(case).step(module)
    assert all(tensor.isfinite().all() for tensor in outcome.gradients.values())


@pytest.mark.parametrize("implementation", supported(), ids=name_of)
def test_what_has_sparse_gradients_says_so(implementation):
    case = Case(implementation.loss.name, batch=8, dim=4, classes=5)
    module = implementation.build(**case.arguments)
    out = module(**Workload.of(case).leaves())
    out[0].sum().backward()
    sparse = [p.grad.is_sparse for p in module.parameters() if p.grad is not None]
    assert any(sparse) == implementation.sparse
