"""The tables of ``train``: a row a loss, and a row a variant."""

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lossbench.bench.format import si
from lossbench.bench.train.records import Curve, Lesson, Trained
from lossbench.bench.train.share import LossShare

LOSS_LEGEND = (
    "accuracy on the test images, after the reference's training: by class weights (without a "
    "margin), by the nearest class mean and by the nearest neighbour among the training features "
    "in the plane, by angle where the class weights have length 1. A rate that no document prints "
    "was chosen, of five, on held-out training images of the digits; no test image played a part. "
    "λ, epochs and network are set: a picture of the losses, not their ranking"
)
VARIANT_LEGEND = (
    "a gap is of the objective from the reference's in float64, relative to the largest on the "
    "way; allowed: what rounding explains, from the reference in three orders of its sums, at the "
    "last step or where the curve parts. A curve is told to coincide over the steps at which that "
    "is at most 1%: beyond, training has amplified rounding until the reference parts from itself. "
    "share: of the loss in a training step, forward and backward, with its 95% interval; whole "
    "step: the reference's time over the variant's"
)


def trained_table(lessons: Sequence[Lesson]) -> Table:
    """Return what each loss was trained with, and what came of it."""
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
    """Return where each variant's curve parts from the reference's, and its share of a step."""
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
    """Return in words how a variant's curve goes, which must be there."""
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
        parting = f"parts at step {curve.parted}: it is {curve.losses[curve.parted or 0]} there"
    if curve.fault is None:
        steps = "each of its steps along the reference's path is right"
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
