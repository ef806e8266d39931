"""Load the native operators, and say what shapes they return.

Nothing is built or loaded at import. A native module loads the library when it is made: traced code
cannot.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lossbench.impls.native import build

NAMESPACE = "lossbench_native"
# As in csrc/cross_entropy.h.
BATCH_MULTIPLE = 32
TILE = 256

Shapes = TypeVar("Shapes", bound=Callable[..., Any])

_loaded = False


def load() -> None:
    """Load the library, built if need be, and register what tracing needs.

    Raises:
        NativeBuildError: if it cannot be built.
    """
    global _loaded
    if _loaded:
        return
    torch.ops.load_library(str(build.library()))  # type: ignore[no-untyped-call]
    for name, shapes in _FAKES.items():
        torch.library.register_fake(f"{NAMESPACE}::{name}", shapes)
    _loaded = True


def shapes_of(name: str) -> Callable[[Shapes], Shapes]:
    """Decorate the function that makes an operator's outputs without their values, for tracing."""

    def enter(shapes: Shapes) -> Shapes:
        _FAKES[name] = shapes
        return shapes

    return enter


class Native(nn.Module):
    """A base class of modules that call native operators: it loads them."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Native":
        """Load the operators; a copy and an unpickled module come here too."""
        load()
        return super().__new__(cls)


def saved_bytes(batch: int, classes: int, *, scaled: bool, kept_tiles: int, wide: bool) -> int:
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
    # Six terms of each sample; each piece begins at a cache line.
    pieces = (*[rows] * 6, per_class, kept_tiles * rows, kept)
    return sum(-(-count * (8 if wide else 4) // 64) * 64 for count in pieces)


def _wide(*tensors: Tensor) -> torch.dtype:
    is_wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if is_wide else torch.float32


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
    count = saved_bytes(
        x.size(0),
        weight.size(1),
        scaled=head[0] != 0,
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


_FAKES: dict[str, Callable[..., Any]] = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_backward": _cross_entropy_backward,
    "cross_entropy_with_gradients": _cross_entropy_with_gradients,
}
