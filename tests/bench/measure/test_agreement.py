"""A variant that agrees passes; one that cheats is refused with a reason."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.draws import DRAWS
from lossbench.bench.case.workload import Workload
from lossbench.bench.machine.guards import StateChanged
from lossbench.bench.measure.agreement import (
    Agreement,
    expect,
    expectations,
    measure_agreement,
    quantities,
)
from lossbench.bench.selftest.cheaters import (
    cached,
    detached,
    halved,
    misdirected,
    moving,
    mutating,
    zeros,
)
from lossbench.bench.selftest.judged_cheaters import JUDGED_CHEATS
from lossbench.impls.variant import Implementation
from tests.makers.cheaters import cheater, reason_to_refuse

(OTHER_DRAW,) = (number for number, draw in enumerate(DRAWS) if draw.other_data)
CASE = Case("center_mse", batch=12, dim=8, classes=5)
HONEST = impls.implementation("center_mse", "vectorized").builder


def judged(builder, case=CASE):
    return measure_agreement(case, Implementation(impls.loss(case.loss), "cheater", builder))


def refused(builder, case=CASE):
    return {a.quantity for a in judged(builder, case) if not a.passed}


@pytest.mark.parametrize(
    ("cheat", "caught"),
    [
        (zeros, {"out.loss", "grad.embeddings", "grad.centers"}),
        (cached, {"out.loss"}),
        (misdirected, {"grad.embeddings", "grad.centers"}),
        (halved, {"out.loss", "grad.embeddings", "grad.centers"}),
        (moving, {"after.centers"}),
    ],
)
def test_a_cheater_is_refused(cheat, caught):
    assert refused(HONEST) == set()
    assert refused(cheater("center_mse", cheat).builder) >= caught


def test_a_detached_graph_raises():
    with pytest.raises(RuntimeError, match="does not require grad"):
        refused(cheater("center_mse", detached).builder)


def test_a_changed_input_raises():
    with pytest.raises(StateChanged, match="it changed its input embeddings"):
        refused(cheater("center_mse", mutating).builder)


def test_a_missing_loss_raises():
    class Nothing(HONEST):
        def forward(self, embeddings, labels):
            return super().forward(embeddings, labels)._replace(loss=None)

    with pytest.raises(TypeError):
        refused(Nothing)


@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [
        ("float32", False),
        ("float64", False),
        ("bfloat16", False),
        ("float16", False),
        ("bfloat16", True),
        ("float16", True),
    ],
)
def test_the_budget_grows_with_the_dtypes_epsilon(dtype, autocast):
    case = Case("normface", batch=12, dim=8, classes=5, dtype=dtype, autocast=autocast)
    eps = torch.finfo(case.torch_dtype).eps
    for each in expectations(case):
        assert eps / 100 < each.own["grad.weight"].relative < 100 * eps
    implementation = impls.implementation("normface", "reference")
    assert all(a.passed for a in measure_agreement(case, implementation))


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_no_loss_depends_on_the_order_of_the_features(loss):
    # In float64 this compares the reference with itself in reverse order, which sets its budget.
    case = Case(loss, batch=12, dim=8, classes=5, dtype="float64")
    errors = [error for each in expectations(case) for error in each.own.values()]
    assert 0 < max(error.relative for error in errors) < 1e-9


def tight(embeddings, labels):
    """Return whether the samples of a class are close together, as in clustered data."""
    return embeddings[labels == labels[0]].var(0).mean() < 0.1


@pytest.mark.parametrize("data", ["gaussian", "clustered"])
def test_a_fault_on_another_kind_of_data_is_caught(data):
    class WrongElsewhere(HONEST):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            wrong = tight(embeddings, labels) == (data == "gaussian")
            return out._replace(loss=(1.001 if wrong else 1) * out.loss)

    agreements = judged(WrongElsewhere, Case("center_mse", 12, 8, 5, data=data))
    assert {a.draw for a in agreements if not a.passed} == {OTHER_DRAW}


def test_a_fault_on_an_easy_draw_does_not_hide_behind_a_hard_one():
    fault, case = 1e-5, Case("triplet_weighted", batch=32, dim=16, classes=10)

    class WrongOnGaussian(impls.implementation("triplet_weighted", "vectorized").builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            wrong = not tight(embeddings, labels)
            return out._replace(loss=(1 + fault * wrong) * out.loss)

    assert expectations(case)[OTHER_DRAW].own["out.loss"].relative > fault
    caught = {a.quantity: a.draw for a in judged(WrongOnGaussian, case) if not a.passed}
    assert set(caught) == {"out.loss", "grad.embeddings"}
    assert OTHER_DRAW not in caught.values()


def test_the_figures_are_those_of_one_draw():
    case = Case("normface", batch=12, dim=8, classes=5)
    expected = expectations(case)
    for part in measure_agreement(case, impls.implementation("normface", "vectorized")):
        own = expected[part.draw].own[part.quantity]
        assert (part.reference_error, part.reference_ulps) == (own.relative, own.ulps)
        assert (part.error == 0) == (part.ulps == 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_lowers_the_products_and_nothing_that_is_held(dtype):
    case = Case("softmax", 12, 8, 5, str(dtype).removeprefix("torch."), autocast=True)
    workload = Workload.of(case)
    module = workload.module(impls.implementation("softmax", "vectorized"))
    outcome = workload.step(module)
    assert outcome.outputs["logits"].dtype == dtype
    assert {t.dtype for t in outcome.gradients.values()} == {torch.float32}
    assert module.weight.dtype == workload.inputs[0]["embeddings"].dtype == torch.float32
    assert {t.dtype for each in expectations(case) for t in each.exact.values()} == {torch.float64}
    exact = workload.exact()
    exact_logits = exact.step(exact.module(impls.implementation("softmax", "vectorized"))).outputs
    assert exact_logits["logits"].dtype == torch.float64


def test_an_error_beyond_autocasts_own_is_refused():
    class Off(impls.implementation("softmax", "vectorized").builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            return out._replace(loss=1.1 * out.loss)

    case = Case("softmax", batch=12, dim=8, classes=5, dtype="bfloat16", autocast=True)
    assert refused(Off, case) == {"out.loss", "grad.embeddings", "grad.weight"}
    assert refused(impls.implementation("softmax", "vectorized").builder, case) == set()


def test_a_thousandth_off_is_refused_in_float32():
    class Off(HONEST):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            return out._replace(loss=1.001 * out.loss)

    assert refused(Off) == {"out.loss", "grad.embeddings", "grad.centers"}


@pytest.mark.parametrize(
    ("name", "loss"), [(name, loss) for name, each in JUDGED_CHEATS.items() for loss in each.losses]
)
def test_what_is_right_for_regular_batches_only_is_refused(name, loss):
    entry, case = JUDGED_CHEATS[name], Case(loss, batch=16, dim=8, classes=5)
    assert re.search(entry.expected, reason_to_refuse(case, cheater(loss, entry.cheat)))


def test_one_outcome_is_checked_against_other_inputs_and_another_state():
    workload = Workload.of(CASE, draws=1)
    shifted = {"centers": workload.state["centers"] + 1}
    other = replace(workload, inputs=(Workload.of(CASE).inputs[2],), state=shifted)
    (expected,) = expect(other)
    outcome = quantities(other.step(other.module(impls.implementation("center_mse", "fused"))))
    assert all(part.passed for part in expected.check(outcome))
    stale = quantities(other.step(workload.module(impls.implementation("center_mse", "fused"))))
    wrong = {part.quantity for part in expected.check(stale) if not part.passed}
    assert wrong == {"out.loss", "grad.embeddings", "grad.centers", "after.centers"}
    with pytest.raises(ValueError, match=r"expected out\.loss, .*; got out\.loss$"):
        expected.check({"out.loss": outcome["out.loss"]})


def test_the_reason_names_the_draw_unless_it_is_the_timed_one():
    part = Agreement("out.loss", 1e-3, 1e-7, 4e-7, 1.0, 1.0, draw=OTHER_DRAW)
    assert str(part) == "out.loss is off by 1.0e-03 (other data), at most 4.0e-07 passes"
    for draw in (0, None):
        text = str(replace(part, draw=draw))
        assert text == "out.loss is off by 1.0e-03, at most 4.0e-07 passes"


def test_a_wrong_number_of_parameters_raises():
    class Extra(HONEST):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.extra = nn.Parameter(torch.zeros(1))

    with pytest.raises(ValueError, match=r"got centers \[5, 8\], extra \[1\]"):
        refused(Extra)
