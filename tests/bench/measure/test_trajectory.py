"""Fifty steps show an error that one step hardly shows; rounding alone stays near the reference."""

import math

import pytest
import torch

from lossbench import impls
from lossbench.bench.format import console
from lossbench.bench.measure.trajectory import (
    BATCHES,
    STEPS,
    Path,
    Trajectory,
    compare_paths,
    descend,
    descent_of,
    measure_trajectory,
)
from lossbench.bench.show.agreement import agreement_table
from lossbench.impls.variant import Implementation

HONEST = [
    ("softmax", "vectorized"),
    ("normface", "fused"),
    ("sphereface", "vectorized"),
    ("center_mse", "sparse"),
    ("center_all_pairs", "fused"),
    ("contrastive", "vectorized"),
    ("pairwise_distance", "fused"),
]


@pytest.mark.parametrize(("loss", "variant"), HONEST)
def test_an_honest_variant_stays_with_the_reference(loss, variant):
    trajectory = measure_trajectory(loss, variant, "cpu")
    assert trajectory.steps == STEPS
    assert 0 < trajectory.drift < 4 * trajectory.reference_drift
    assert trajectory.parted is None


@pytest.mark.parametrize("loss", ["softmax", "center_all_pairs"])
def test_a_gradient_off_by_a_thousandth_drifts(loss):
    class Off(impls.implementation(loss, "vectorized").builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            steeper = out.loss.detach() + 1.001 * (out.loss - out.loss.detach())
            return out._replace(loss=steeper)

    course = descent_of(loss, "cpu")
    path = descend(course.workload, Implementation(impls.loss(loss), "off", Off), course.rates)
    trajectory = compare_paths(path, course.reference, course.exact)
    assert trajectory.drift > 100 * trajectory.reference_drift
    assert trajectory.loss_gap > 10 * trajectory.reference_loss_gap
    assert 0 < trajectory.parted < STEPS


def test_a_count_that_stands_still_drifts():
    class Stuck(impls.implementation("sphereface", "vectorized").builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            self.iteration.fill_(1)
            return out

    course = descent_of("sphereface", "cpu")
    stuck = Implementation(impls.loss("sphereface"), "stuck", Stuck)
    path = descend(course.workload, stuck, course.rates)
    assert course.exact.ends["iteration"] == STEPS
    assert compare_paths(path, course.reference, course.exact).drift >= 1 - 1 / STEPS


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_every_loss_moves_down_and_none_diverges(loss):
    course = descent_of(loss, "cpu")
    losses = course.exact.losses
    assert losses[-BATCHES:].sum() < losses[:BATCHES].sum()
    if impls.loss(loss).kind == "loss":
        assert losses.max() < 1.1 * losses[:BATCHES].max()
    before, after = course.workload.exact().state, course.exact.ends
    for name, tensor in before.items():
        assert not torch.equal(tensor, after[name])


def path(losses, end=1.0):
    return Path(torch.tensor(losses, dtype=torch.float64), {"weight": torch.tensor([end])})


EXACT = path([4.0, 2.0, 1.0])


def test_the_figures_of_a_path():
    reference, given = path([4.0, 2.0, 1.0 + 2e-7], 1.25), path([4.0, 2.0, 1.5], 1.5)
    trajectory = compare_paths(given, reference, EXACT)
    assert trajectory.loss_gap == 0.125
    assert trajectory.reference_loss_gap == pytest.approx(5e-8)
    assert (trajectory.drift, trajectory.reference_drift) == (0.5, 0.25)
    assert trajectory.parted == 2


def test_a_loss_that_is_nan_has_parted():
    trajectory = compare_paths(path([4.0, math.nan, math.nan], math.nan), EXACT, EXACT)
    assert (trajectory.loss_gap, trajectory.drift, trajectory.parted) == (math.inf, math.inf, 1)


def test_the_table_shows_where_the_paths_part_and_what_gave_no_answer():
    parted = Trajectory(STEPS, 2e-3, 1e-7, 1e-3, 1e-7, 7)
    found = {"reference": {"float32": "crashed: signal SIGSEGV"}}
    table = agreement_table(found, {"reference": parted}, every=False)
    screen = console()
    with screen.capture() as capture:
        screen.print(table)
    assert "2e-03 (1e-07)" in capture.get()
    assert "parts at 7" in capture.get()
