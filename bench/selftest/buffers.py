"""Check the memory counts: plant buffers of known size, and count every byte of them."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.memory import footprint, measure_memory

LOSS = "center_mse"
BUFFER_SIZES = (1, 1000, 4567, 3 * 2**20 + 5)
# CUDA's caching allocator rounds each size up to a multiple of this.
CUDA_GRAIN = 512
FLOAT_BYTES = 4

Plant = Callable[[int, Callable[[], Any], str], Any]


@dataclass(frozen=True)
class Count:
    """The count of one planted buffer.

    Attributes:
        what: description of the buffer, and the figure that must count it.
        expected_bytes: size of the buffer.
        counted_bytes: increase of the figure by the buffer.
    """

    what: str
    expected_bytes: int
    counted_bytes: int

    @property
    def right(self) -> bool:
        """Whether the count equals the size of the buffer."""
        return self.expected_bytes == self.counted_bytes


def measure_counts(device: str) -> tuple[Count, ...]:
    """Return the counts of planted buffers of several sizes."""
    return tuple(
        count
        for size in BUFFER_SIZES
        for measure in (_calls, _modules)
        for count in measure(size, device)
    )


def _calls(size: int, device: str) -> Iterator[Count]:
    """Count the buffers of a call that keeps one, and drops another of twice the size."""

    def call() -> Tensor:
        kept = torch.empty(size, dtype=torch.uint8, device=device)
        torch.empty(2 * size, dtype=torch.uint8, device=device)
        return kept

    seen = footprint(call, device)
    kept, dropped = _granted(size, device), _granted(2 * size, device)
    yield Count(f"{size} B kept by a call: live", kept, seen.live_bytes)
    yield Count(f"{2 * size} B dropped beside them: peak", kept + dropped, seen.peak_bytes)


def _modules(size: int, device: str) -> Iterator[Count]:
    """Count the buffers of an implementation: its figures, minus those without the buffers."""
    case = Case(LOSS, batch=32, dim=16, classes=10, device=device)
    held = ("forward_peak_bytes", "backward_peak_bytes", "saved_bytes")
    granted, ballast = _granted(size, device), _granted(FLOAT_BYTES * size, device)
    for plant, planted, figures in ((_held, granted, held), (_saved, 2 * ballast, held[2:])):
        more, less = (measure_memory(case, _planted(count, plant)) for count in (size, 0))
        for figure in figures:
            counted = getattr(more, figure) - getattr(less, figure)
            yield Count(f"{planted} B {plant.__name__[1:]} by a module: {figure}", planted, counted)


def _granted(size: int, device: str) -> int:
    """Return the number of bytes that the allocator takes for a buffer."""
    return -(-size // CUDA_GRAIN) * CUDA_GRAIN if device == "cuda" else size


def _planted(size: int, plant: Plant) -> impls.Implementation:
    """Return the reference with a buffer planted in its forward."""
    entry = impls.loss(LOSS)

    def build(**arguments: Any) -> nn.Module:
        module = entry.reference(**arguments)
        forward = module.forward
        module.forward = lambda embeddings, labels: plant(
            size, lambda: forward(embeddings, labels), embeddings.device.type
        )
        return module

    return impls.Implementation(entry, "planted", build)


def _held(size: int, compute: Callable[[], Any], device: str) -> Any:
    """Allocate a buffer before the forward, and keep it as long as the loss lives."""
    buffer = torch.empty(size, dtype=torch.uint8, device=device)
    out = compute()
    out.loss.buffer = buffer
    return out


def _saved(size: int, compute: Callable[[], Any], device: str) -> Any:
    """Make the graph save two buffers of ``size`` floats each: a leaf, and its exponential."""
    out = compute()
    ballast = torch.ones(size, device=device, requires_grad=True)
    return out._replace(loss=out.loss + 0 * ballast.exp().sum())
