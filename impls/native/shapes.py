"""The shapes and dtypes that the native operators return."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# As in csrc/cross_entropy.h.
BATCH_MULTIPLE = 32
TILE = 256
# As in csrc/arena.h: each piece of what is saved begins there.
CACHE_LINE = 64


def cross_entropy_bytes(
    batch: int, classes: int, *, scaled: bool, kept_tiles: int, wide: bool
) -> int:
    """Return how many bytes ``cross_entropy`` saves for its backward pass.

    Args:
        batch: the number of samples, B.
        classes: the number of classes, C.
        scaled: whether the weight's columns are scaled.
        kept_tiles: the number of class tiles that keep their powers.
        wide: whether the computation is in float64.
    """
    rows = -(-batch // BATCH_MULTIPLE) * BATCH_MULTIPLE
    per_class = classes if scaled else 0
    kept = min(kept_tiles * TILE, classes) * rows
    # Six terms of each sample.
    counts = (*[rows] * 6, per_class, kept_tiles * rows, kept)
    return _bytes([(count, 8 if wide else 4) for count in counts])


def _wide(*tensors: Tensor) -> torch.dtype:
    is_wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if is_wide else torch.float32


def _bytes(pieces: Sequence[tuple[int, int]]) -> int:
    """Return the bytes of pieces, each a number of elements and their size, that begin anew."""
    return sum(-(-count * size // CACHE_LINE) * CACHE_LINE for count, size in pieces)


def _loss(x: Tensor, weight: Tensor, reduction: int) -> Tensor:
    shape = (x.size(0),) if reduction == 2 else ()
    return x.new_empty(shape, dtype=_wide(x, weight))


def _gradient(like: Tensor, wanted: bool) -> Tensor:
    return like.new_empty(like.shape if wanted else (0,))


def _cross_entropy(
    x: Tensor,
    weight: Tensor,
    _labels: Tensor,
    _class_weights: Tensor | None,
    _iteration: Tensor | None,
    head: list[float],
    _ignore_index: int | None,
    _label_smoothing: float,
    reduction: int,
    kept_tiles: int,
) -> tuple[Tensor, Tensor]:
    count = cross_entropy_bytes(
        x.size(0),
        weight.size(1),
        scaled=bool(head and head[0]),
        kept_tiles=kept_tiles,
        wide=_wide(x, weight) == torch.float64,
    )
    return _loss(x, weight, reduction), x.new_empty(count, dtype=torch.uint8)


def _cross_entropy_backward(
    _upstream: Tensor,
    x: Tensor,
    weight: Tensor,
    _labels: Tensor,
    _class_weights: Tensor | None,
    _saved: Tensor,
    _head: list[float],
    _ignore_index: int | None,
    _label_smoothing: float,
    _reduction: int,
    _kept_tiles: int,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    return _gradient(x, for_x), _gradient(weight, for_weight)


def _cross_entropy_with_gradients(
    x: Tensor,
    weight: Tensor,
    _labels: Tensor,
    _class_weights: Tensor | None,
    _iteration: Tensor | None,
    _head: list[float],
    _ignore_index: int | None,
    _label_smoothing: float,
    reduction: int,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        _loss(x, weight, reduction),
        _gradient(x, for_x),
        _gradient(weight, for_weight),
    )


def _shard_sums(
    rows: Tensor, weight: Tensor, _places: Tensor, shares: Tensor | None, columns: int
) -> tuple[Tensor, Tensor, Tensor]:
    dtype, batch = _wide(rows, weight), rows.size(0)
    wide = dtype == torch.float64
    saved = cross_entropy_bytes(batch, weight.size(1), scaled=columns > 0, kept_tiles=0, wide=wide)
    return (
        rows.new_empty(batch, dtype=dtype),
        rows.new_empty(0 if shares is None else batch, dtype=dtype),
        rows.new_empty(saved, dtype=torch.uint8),
    )


def _shard_sums_backward(
    _upstream: Tensor,
    _spread_upstream: Tensor | None,
    rows: Tensor,
    weight: Tensor,
    _places: Tensor,
    _shares: Tensor | None,
    _saved: Tensor,
    _columns: int,
    for_rows: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    return _gradient(rows, for_rows), _gradient(weight, for_weight)


def _centers(
    x: Tensor, centers: Tensor, _labels: Tensor, _factor: float, _rooted: bool, pair_weight: float
) -> tuple[Tensor, Tensor]:
    dtype = _wide(x, centers)
    classes, dim = centers.shape if pair_weight else (0, 0)
    count = _bytes([(1, 8), (dim, 8), (classes, dtype.itemsize)])
    return x.new_empty((), dtype=dtype), x.new_empty(count, dtype=torch.uint8)


def _centers_backward(
    _upstream: Tensor,
    x: Tensor,
    centers: Tensor,
    _labels: Tensor,
    _saved: Tensor,
    _factor: float,
    _rooted: bool,
    _pair_weight: float,
    for_x: bool,
    for_centers: bool,
) -> tuple[Tensor, Tensor]:
    return _gradient(x, for_x), _gradient(centers, for_centers)


def _centers_with_gradients(
    x: Tensor,
    centers: Tensor,
    _labels: Tensor,
    _factor: float,
    _rooted: bool,
    _pair_weight: float,
    for_x: bool,
    for_centers: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    loss = x.new_empty((), dtype=_wide(x, centers))
    return loss, _gradient(x, for_x), _gradient(centers, for_centers)


def _softmax_center_with_gradients(
    x: Tensor,
    weight: Tensor,
    centers: Tensor,
    _labels: Tensor,
    _reduction: int,
    _factor: float,
    _rooted: bool,
    for_x: bool,
    for_weight: bool,
    for_centers: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    loss = x.new_empty((), dtype=_wide(x, weight, centers))
    return (
        loss,
        _gradient(x, for_x),
        _gradient(weight, for_weight),
        _gradient(centers, for_centers),
    )


def _all_pairs(
    x: Tensor, centers: Tensor, _labels: Tensor, for_x: bool, for_centers: bool, dense: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = _wide(x, centers)
    like = centers if dense else x
    return (
        x.new_empty((), dtype=dtype),
        x.new_empty(x.shape if for_x else (0,), dtype=dtype),
        like.new_empty(like.shape if for_centers else (0,), dtype=dtype),
    )


def _triplet(x: Tensor, for_x: bool) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(()), x.new_empty((), dtype=torch.int64), _gradient(x, for_x)


def _contrastive(
    x0: Tensor, x1: Tensor, _same: Tensor, _margin: float, _whole_batch: bool, for_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return x0.new_empty((), dtype=_wide(x0)), _gradient(x0, for_x), _gradient(x1, for_x)


def _pairwise_backward(
    _upstream: Tensor,
    a: Tensor,
    b: Tensor,
    _distances: Tensor,
    _rooted: bool,
    for_a: bool,
    for_b: bool,
) -> tuple[Tensor, Tensor]:
    return _gradient(a, for_a), _gradient(b, for_b)


FAKES: dict[str, Callable[..., Any]] = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_backward": _cross_entropy_backward,
    "cross_entropy_with_gradients": _cross_entropy_with_gradients,
    "shard_sums": _shard_sums,
    "shard_sums_backward": _shard_sums_backward,
    "centers": _centers,
    "centers_backward": _centers_backward,
    "centers_with_gradients": _centers_with_gradients,
    "all_pairs": _all_pairs,
    "move_centers": lambda *_inputs: None,
    "exp_or_log": lambda x, _logarithm: x.new_empty(x.numel()),
    "triplet_batch_hard": lambda x, _labels, _margin, for_x: _triplet(x, for_x),
    "triplet_weighted": lambda x, _labels, _epsilon, _shifted, for_x: _triplet(x, for_x),
    "contrastive": _contrastive,
    "vector_distance": lambda a, _b: a.new_empty((), dtype=_wide(a)),
    "vector_distance_backward": lambda _upstream, a, b, _d: (
        _gradient(a, True),
        _gradient(b, True),
    ),
    "pairwise_distance": lambda a, b, _rooted, rounded: a.new_empty(
        (a.size(0), b.size(0)), dtype=a.dtype if rounded else _wide(a)
    ),
    "pairwise_distance_backward": _pairwise_backward,
    "softmax_center_with_gradients": _softmax_center_with_gradients,
}
"""The functions that return tensors of each operator's shapes and dtypes, for tracing."""
