"""A variant's curve compared with the reference's: where it coincides, and where it parts."""

from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.train.course import PLAIN, course_of, gaps_beside, train_course
from lossbench.bench.train.curves import follow, train_reference
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.records import Trained
from lossbench.bench.train.table import verdict
from lossbench.impls.variant import Implementation

STEPS = 20
EXPERIMENT = Experiment("softmax", epochs=1)


@pytest.mark.parametrize("variant", ["vectorized", "fused", "torch"])
def test_the_curve_of_a_right_variant_coincides(variant):
    implementation = impls.implementation("softmax", variant)
    if implementation.outdated():
        pytest.skip(implementation.outdated())
    curve = follow(EXPERIMENT, implementation, STEPS)
    assert curve.verdict == "coincides"
    assert len(curve.losses) == STEPS
    assert curve.largest_gap <= curve.allowed < 1e-2


def steeper(loss, factor, start):
    """Return an implementation with gradients that are wrong by a factor, from one call on."""

    class Off(impls.implementation(loss, "vectorized").builder):
        calls = 0

        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            self.calls += 1
            scale = factor if self.calls > start else 1
            return out._replace(loss=out.loss.detach() + scale * (out.loss - out.loss.detach()))

    return Implementation(impls.loss(loss), "off", Off)


@pytest.mark.parametrize("loss", ["softmax", "center_mse"])
@pytest.mark.parametrize("start", [0, 5])
def test_a_steeper_gradient_parts_the_step_after_it_is_taken(loss, start):
    curve = follow(replace(EXPERIMENT, loss=loss), steeper(loss, 1.05, start), STEPS)
    assert curve.parted == start + 1
    assert curve.gap > curve.allowed
    assert curve.verdict == "parts"
    assert curve.fault.step == start
    assert curve.fault.quantity == "grad.features"
    assert curve.fault.error == pytest.approx(0.05, rel=1e-3)


def test_a_counter_that_does_not_count_is_found_in_the_state():
    class Stuck(impls.implementation("sphereface", "vectorized").builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            self.iteration.fill_(1)
            return out

    stuck = Implementation(impls.loss("sphereface"), "stuck", Stuck)
    experiment = Experiment("sphereface", epochs=1)
    curve = follow(experiment, stuck, STEPS)
    assert curve.verdict == "parts"
    assert (curve.fault.step, curve.fault.quantity) == (1, "after.iteration")


def test_a_curve_that_stops_being_finite_parts_there():
    class Broken(impls.implementation("softmax", "vectorized").builder):
        calls = 0

        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            self.calls += 1
            return out._replace(loss=out.loss * (torch.nan if self.calls > 3 else 1))

    curve = follow(EXPERIMENT, Implementation(impls.loss("softmax"), "broken", Broken), STEPS)
    assert (curve.parted, curve.verdict) == (3, "parts")
    shown = verdict(Trained("broken", "trained", curve=curve)).plain
    assert shown.startswith(
        "parts at step 3, where the objective is nan: loss is off by inf at step 3"
    )
    healed = replace(curve, fault=None)
    assert healed.verdict == "parts"
    assert (
        "each step from the reference's own state is right"
        in verdict(Trained("broken", "trained", curve=healed)).plain
    )


def test_a_curve_within_what_rounding_explains_does_not_part():
    course = course_of(EXPERIMENT, STEPS)
    path = train_course(EXPERIMENT, impls.implementation("softmax", "reference"), PLAIN, STEPS)
    assert (gaps_beside(path, course.exact) <= course.rounding).all()
    assert (course.rounding.diff() >= 0).all()


def test_an_objective_that_is_not_finite_is_reported_with_its_step():
    with pytest.raises(ValueError, match=r"at step \d+ with --lr 1e\+30; a smaller one"):
        train_reference(Experiment("softmax", epochs=1, rate=1e30), 1)
