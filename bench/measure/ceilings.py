"""What this machine can do at best, and the time that a Case takes at the least."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.case.data import count_distinct_labels
from lossbench.bench.timing.clock import calls_a_block, clock
from lossbench.impls.cost import Phase, Sizes

Bound = Literal["arithmetic", "bytes", "overhead"]

# A quarter of a gibibyte on either side of a copy is more than the caches of most machines hold.
COPY_BYTES = 2**28
# Matrices grow until a product takes this long, so that neither a slow dtype nor a fast GPU is
# measured at a size that does not suit it.
PRODUCT_SECONDS = 1e-2
SMALLEST_PRODUCT, LARGEST_PRODUCT = 256, 8192
FEWEST_BLOCKS, SAMPLE_SECONDS = 5, 0.1


@dataclass(frozen=True)
class Ceilings:
    """The best that was seen of a machine: by its libraries, at the threads of the process.

    Attributes:
        flops_per_second: of a square matrix product, by the name of the dtype; a multiply-add is
            two.
        bytes_per_second: of a large copy, bytes read plus bytes written.
        call_seconds: of one small operator in a module, by phase: forward, or a step of it.
    """

    flops_per_second: dict[str, float]
    bytes_per_second: float
    call_seconds: dict[Phase, float]


@dataclass(frozen=True)
class Limit:
    """The least time of a Case in a phase, and what bounds it.

    Attributes:
        seconds: divided by a measured time, the fraction of the attainable.
        bound: ``arithmetic``, the ``bytes`` moved, or the fixed ``overhead`` of a call.
    """

    seconds: float
    bound: Bound


def measure_ceilings(device: str, dtypes: tuple[str, ...]) -> Ceilings:
    """Return the ceilings of a device, at about a second and half a gibibyte.

    They are the best of several blocks, and not a median: what disturbs a measurement only ever
    slows it down.

    Args:
        device: ``cpu`` or ``cuda``.
        dtypes: the dtypes to multiply matrices in, by their names in ``DTYPES``.
    """
    return Ceilings(
        {dtype: _flops_per_second(device, DTYPES[dtype]) for dtype in dtypes},
        _bytes_per_second(device),
        _call_seconds(device),
    )


def limit(case: Case, phase: Phase, ceilings: Ceilings) -> Limit:
    """Return the least time of any implementation of a Case.

    It is the longest of three: of the Loss's fewest operations at the rate of a matrix product, of
    its least traffic at the bandwidth of a copy, and of the fixed cost of a call. It is a model. A
    measured time may be below it where

    * inputs and parameters stay in the caches from one call to the next, as at all small sizes;
    * more is read than written, which is faster than a copy on many machines;
    * a gradient is made in the forward pass, or is sparse;
    * a dtype whose products are slow here is widened to one whose products are fast;
    * the machine was busy while its ceilings were measured.

    Raises:
        ValueError: where the ceilings have no rate of the case's dtype.
    """
    if case.dtype not in ceilings.flops_per_second:
        measured = ", ".join(ceilings.flops_per_second)
        raise ValueError(f"expected the ceiling of {case.dtype}, got those of {measured}")
    cost, sizes = impls.loss(case.loss).cost, sizes_of(case)
    flops = cost.flops(phase, sizes)
    # Under autocast tensors are held in a wider dtype than the one that products are taken in.
    traffic = cost.traffic_bytes(phase, sizes, case.held_dtype.itemsize)
    seconds: dict[Bound, float] = {
        "arithmetic": flops / ceilings.flops_per_second[case.dtype],
        "bytes": traffic / ceilings.bytes_per_second,
        "overhead": ceilings.call_seconds[phase],
    }
    bound = max(seconds, key=lambda name: seconds[name])
    return Limit(seconds[bound], bound)


def sizes_of(case: Case) -> Sizes:
    """Return what the symbols of a cost stand for in a Case."""
    labelled = "labels" in impls.loss(case.loss).input_names
    distinct = count_distinct_labels(case) if labelled else case.batch
    return {"B": case.batch, "D": case.dim, "C": case.classes, "U": distinct}


def _flops_per_second(device: str, dtype: torch.dtype) -> float:
    """Return the rate of the fastest square matrix product of all sizes tried."""
    best, size = 0.0, SMALLEST_PRODUCT
    while size <= LARGEST_PRODUCT:
        seconds = _product_seconds(device, dtype, size)
        best = max(best, 2 * size**3 / seconds)
        if seconds > PRODUCT_SECONDS:
            break
        size *= 2
    return best


def _product_seconds(device: str, dtype: torch.dtype, size: int) -> float:
    # Random, since a GPU runs faster on constants; by a generator of its own, since others seed
    # the global one.
    generator = torch.Generator(device).manual_seed(0)
    a, b, out = torch.randn(3, size, size, dtype=dtype, device=device, generator=generator)
    calls: list[Callable[[], object]] = [lambda: torch.mm(a, b, out=out)]
    if _has_onednn(device, dtype):
        calls.append(lambda: _onednn_product(a, b))
    return min(_fastest(call, device) for call in calls)


def _has_onednn(device: str, dtype: torch.dtype) -> bool:
    """Return whether float32 products can go to oneDNN on the CPU, where ``mm`` takes MKL."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and device == "cpu" and dtype == torch.float32


def _onednn_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b``, ``[M, N]``, by oneDNN, which is twice as fast as MKL on AMD's processors.

    torch has no public name for it. Contenders call the same operator by code of their own, so that
    a fault in theirs does not change what they are measured against.
    """
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")
    return result


def _bytes_per_second(device: str) -> float:
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / _fastest(lambda: target.copy_(source), device)


def _call_seconds(device: str) -> dict[Phase, float]:
    module = nn.Sigmoid()
    x = torch.zeros((), device=device, requires_grad=True)
    return {
        "forward": _fastest(lambda: module(x), device),
        "step": _fastest(lambda: torch.autograd.grad(module(x), [x]), device),
    }


def _fastest(call: Callable[[], object], device: str) -> float:
    """Return the time of one call in the fastest of several blocks."""
    timer = clock(call, device)
    calls = calls_a_block(timer)
    seconds = list[float]()
    while len(seconds) < FEWEST_BLOCKS or sum(seconds) < SAMPLE_SECONDS:
        seconds.append(timer.block_seconds(calls))
    return min(seconds) / calls
