"""Sums of the rows of each class, in a fixed order: nothing is added by atomics.

The samples are sorted by class. The first of a class adds up all of its class, so that the number
of programs depends on the batch alone.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossbench.impls.triton.kernels.differences import load_pulls
from lossbench.impls.triton.kernels.launching import launch, sized

# The samples that a program adds at once, and its features.
SAMPLES = sized(32, interpreted=16)
FEATURES = sized(64, interpreted=16)


class SortedClasses(NamedTuple):
    """A batch in the order of its classes.

    Attributes:
        classes: the class at each place, ``[B]``.
        order: the sample at each place, ``[B]``.
        stops: the place after the last of each place's class, ``[B]``.
    """

    classes: Tensor
    order: Tensor
    stops: Tensor


def sort_by_class(labels: Tensor) -> SortedClasses:
    """Return the order of ``labels [B]``; samples of a class keep theirs."""
    classes, order = torch.sort(labels, stable=True)
    return SortedClasses(classes, order, torch.searchsorted(classes, classes, right=True))


def launch_sums(
    x: Tensor,
    centers: Tensor | None,
    batch: SortedClasses,
    pulls: Tensor | None,
    upstream: Tensor | None,
    sums: Tensor,
    *,
    by_class: bool,
    cosines: tuple[Tensor, Tensor, Tensor] | None = None,
    pair_weight: float = 0.0,
) -> None:
    """Write the sums of the rows of each class.

    Args:
        x: the rows, ``[B, D]``.
        centers: the centres, ``[C, D]``: the sum is of the centre minus each row, times its pull;
            ``None`` for the sum of the rows.
        batch: the order of the rows.
        pulls: the pull of each row, ``[B]``, or of all, 0-d; with centres alone.
        upstream: the upstream gradient, 0-d; ``None`` for 1.
        sums: the result: a row for each class, ``[C, D]``; or a row for each place, ``[B, D]``: the
            first of a class has its sum, and any other is 0.
        by_class: whether the sums are written at the class.
        cosines: ``inverse [C]``, ``along [C]`` and ``unit_sum [D]``; the result of ``turn_of`` of
            them is added. ``None`` to add nothing.
        pair_weight: the weight of that result.
    """
    rows, dim = x.shape
    each = pulls is not None and pulls.dim() == 1
    launch(
        sum_samples, (rows, triton.cdiv(dim, FEATURES)),
        x, centers, *batch, pulls, upstream, sums, *(cosines or (None, None, None)), pair_weight,
        dim, EACH=each, BY_CLASS=by_class, BLOCK_E=SAMPLES, BLOCK_K=FEATURES,
    )  # fmt: skip


@triton.jit
def sum_samples(
    x,
    centers,
    classes,
    order,
    stops,
    pulls,
    upstream,
    sums,
    inverses,
    along,
    unit_sum,
    pair_weight,
    dim,
    EACH: tl.constexpr,
    BY_CLASS: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Add up the samples of a class, in the program of its first place."""
    place = tl.program_id(0).to(tl.int64)
    feature = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    inside = feature < dim
    label = tl.load(classes + place).to(tl.int64)
    before = tl.load(classes + place - 1, mask=place > 0, other=-1).to(tl.int64)
    is_first = before != label
    # A place in the batch is 32 bits wide, as the number of a program is.
    begin = tl.program_id(0)
    stop = tl.where(is_first, tl.load(stops + place).to(tl.int32), begin)
    center = tl.zeros([BLOCK_K], tl.float32)
    if centers is not None:
        center = tl.load(centers + label * dim + feature, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros([BLOCK_K], tl.float32)
    for start in range(begin, stop, BLOCK_E):
        entry = start + tl.arange(0, BLOCK_E)
        within = entry < stop
        rows = tl.load(order + entry, mask=within, other=0).to(tl.int64)
        mask = within[:, None] & inside[None, :]
        at = rows[:, None] * dim + feature[None, :]
        part = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        if centers is not None:
            part = tl.where(mask, center[None, :] - part, 0.0)
            part *= load_pulls(pulls, upstream, rows, within, EACH)
        total += tl.sum(part, 0)
    if unit_sum is not None:
        scale = tl.load(inverses + label)
        shift = tl.load(unit_sum + feature, mask=inside, other=0.0)
        weight = pair_weight * tl.load(upstream).to(tl.float32)
        total += turn_of(center, shift, tl.load(along + label), scale) * weight
    if BY_CLASS:
        if is_first:
            tl.store(sums + label * dim + feature, total, mask=inside)
    else:
        tl.store(sums + place * dim + feature, total, mask=inside)


@triton.jit
def turn_of(center, unit_sum, along, inverse):
    """Return the derivative of the cosines of all pairs of centres by some centres.

    With ``s`` the sum of all unit centres it is ``(s - (ĉ · s) ĉ) / ‖c‖``.

    Args:
        center: the centres c.
        unit_sum: the sum s.
        along: ``(ĉ · s) / ‖c‖``.
        inverse: ``1 / ‖c‖``.
    """
    return (unit_sum - along * center) * inverse
