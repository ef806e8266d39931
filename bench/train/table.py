"""The tables of ``train``: one row per loss, and one row per variant."""

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lossbench.bench.format import si
from lossbench.bench.train.records import Curve, Lesson, Trained
from lossbench.bench.train.share import LossShare

LOSS_LEGEND = (
    "weights, nearest mean, 1-NN: accuracy on the test images after the reference's training, by "
    "class weights (without a margin), by the nearest class mean, and by the nearest training "
    "feature; by angle where the class weights have length 1. Where no document prints a rate, "
    "the best of five was chosen on held-out training images of the digits; no test image was "
    "used. share: the loss's share of a training step, forward and backward, with its 95% "
    "interval. λ, epochs and network are fixed: the table shows the losses, it does not rank them"
)
VARIANT_LEGEND = (
    "gap: difference between the objective and the reference's in float64, relative to the largest "
    "value of the latter. allowed: largest gap that rounding explains, measured on the reference "
    "with three orders of its sums; at the step where the curve parts, or else at the last step. "
    "A curve coincides over the steps at which the allowed gap is at most 1%; later, training "
    "amplifies rounding so much that even the reference parts from itself. share: the loss's share "
    "of a training step, forward and backward, with its 95% interval. whole step: time of the "
    "reference's training step over the variant's"
)


def trained_table(lessons: Sequence[Lesson]) -> Table:
    """Return the objective, rate, steps and accuracy of each loss."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("loss", "objective", "rate", "steps", "weights", "nearest mean", "1-NN", "share"):
        table.add_column(name, justify="left" if name in ("loss", "objective") else "right")
    for lesson in lessons:
        table.add_row(Text(lesson.experiment.loss), *_loss_cells(lesson))
    return table


def _loss_cells(lesson: Lesson) -> tuple[Text, ...]:
    if lesson.reference is None:
        return (Text("not trained", "red"),)
    accuracy = lesson.reference.accuracy
    shares = (accuracy.logits, accuracy.nearest_mean, accuracy.nearest_neighbour)
    return (
        Text(lesson.objective),
        Text(f"{lesson.experiment.learning_rate:g}"),
        Text(str(len(lesson.reference.losses))),
        *(Text("-", "dim") if share is None else Text(f"{share:.1%}") for share in shares),
        _share(lesson.reference_share),
    )


def variants_table(lessons: Sequence[Lesson]) -> Table:
    """Return the step at which each variant's curve parts, and its share of a training step."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("loss", "variant", "curve", "largest gap", "allowed", "share", "whole step"):
        table.add_column(name, justify="left" if name in ("loss", "variant", "curve") else "right")
    for lesson in lessons:
        for place, trained in enumerate(lesson.variants):
            name = "" if place else lesson.experiment.loss
            table.add_row(Text(name, "bold"), Text(trained.variant), *_cells(lesson, trained))
    return table


def _cells(lesson: Lesson, trained: Trained) -> tuple[Text, ...]:
    if trained.curve is None:
        return (Text(f"{trained.status}: {trained.reason}", "dim"),)
    own, share = lesson.reference_share, trained.share
    whole = (1 - share.share.median) / (1 - own.share.median) if share and own else None
    return (
        verdict(trained),
        Text(f"{trained.curve.largest_gap:.0e}"),
        Text(f"{trained.curve.allowed:.0e}"),
        _share(share),
        Text("-", "dim") if whole is None else Text(f"{whole:.2f}x"),
    )


def verdict(trained: Trained) -> Text:
    """Return in words whether the curve of a trained variant coincides with the reference's.

    Raises:
        ValueError: if the variant has no curve.
    """
    curve = trained.curve
    if curve is None:
        raise ValueError(f"{trained.variant} was not trained")
    if curve.parted is None:
        return Text(f"coincides over {curve.told} of {len(curve.losses)} steps", "green")
    text = Text(_parting(curve), "red" if curve.verdict == "parts" else "yellow")
    if trained.reason:
        text.append(f"\n{trained.reason}", "dim")
    return text


def _parting(curve: Curve) -> str:
    parting = f"parts at step {curve.parted} by {curve.gap:.0e}, {curve.allowed:.0e} allowed"
    if math.isinf(curve.gap):
        objective = curve.losses[curve.parted or 0]
        parting = f"parts at step {curve.parted}, where the objective is {objective}"
    if curve.fault is None:
        steps = "each step from the reference's own state is right"
        return (
            f"{parting}; {steps}" if curve.verdict == "parts" else f"{parting}: rounding, {steps}"
        )
    fault = curve.fault
    return (
        f"{parting}: {fault.quantity} is off by {fault.error:.0e} at step {fault.step} "
        f"({fault.allowed:.0e} allowed)"
    )


def _share(share: LossShare | None) -> Text:
    if share is None:
        return Text("-", "dim")
    interval = share.share
    figures = f"{interval.median:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
    return Text(f"{figures} of {si(share.loss_seconds + share.rest_seconds, 's')}")
