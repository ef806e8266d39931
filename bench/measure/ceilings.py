"""Measure the best rates of this machine, and compute the least time of a Case from them."""

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.case.data import count_distinct_labels
from lossbench.bench.machine.conditions import Usage
from lossbench.bench.timing.blocks import calls_a_block
from lossbench.bench.timing.clock import Timed, clock
from lossbench.impls.cost import Phase, Sizes

if TYPE_CHECKING:
    from lossbench.impls.cost import Cost

Bound = Literal["arithmetic", "bytes", "overhead"]

# Each side of the copy is larger than the caches of most machines.
COPY_BYTES = 2**28
# Matrices grow until a product takes this long, so that the size suits a slow dtype and a fast GPU.
PRODUCT_SECONDS = 1e-2
SMALLEST_PRODUCT, LARGEST_PRODUCT = 256, 8192
FEWEST_BLOCKS, SAMPLE_SECONDS = 5, 0.1


@dataclass(frozen=True)
class Ceilings:
    """The best measured rates of a machine, with torch's libraries and the process's threads.

    Attributes:
        flops_per_second: rate of a square matrix product, by the name of the dtype; a multiply-add
            is two operations.
        bytes_per_second: bandwidth of a large copy, bytes read plus bytes written.
        call_seconds: time of a module with one small operator, by phase.
        cache_bytes: size of the largest cache; 0 if it is unknown.
        elsewhere: number of processors that other processes kept busy during the measurement, on
            average; 0 in records without it.
    """

    flops_per_second: dict[str, float]
    bytes_per_second: float
    call_seconds: dict[Phase, float]
    cache_bytes: int = 0
    elsewhere: float = 0.0

    def joined(self, other: "Ceilings | None") -> "Ceilings":
        """Return the best of two measurements; a disturbance can only lower a rate."""
        if other is None:
            return self
        rates = (self.flops_per_second, other.flops_per_second)
        phases: tuple[Phase, ...] = ("forward", "step")
        return Ceilings(
            {name: max(r.get(name, 0.0) for r in rates) for name in rates[0] | rates[1]},
            max(self.bytes_per_second, other.bytes_per_second),
            {p: min(self.call_seconds[p], other.call_seconds[p]) for p in phases},
            max(self.cache_bytes, other.cache_bytes),
            min(self.elsewhere, other.elsewhere),
        )


@dataclass(frozen=True)
class Limit:
    """The least time of a Case in a phase, and its cause.

    Attributes:
        seconds: least time; divided by a measured time it gives the figure ``of limit``.
        bound: cause of the least time: ``arithmetic``, the ``bytes`` moved, or the fixed
            ``overhead`` of a call.
    """

    seconds: float
    bound: Bound


def measure_ceilings(device: str, dtypes: tuple[str, ...]) -> Ceilings:
    """Return the ceilings of a device; it takes seconds and half a gibibyte.

    A disturbance can only slow a measurement down, so the fastest of several blocks counts, not
    their median.

    Args:
        device: ``cpu`` or ``cuda``.
        dtypes: names of the dtypes to multiply matrices in, of ``DTYPES``.
    """
    usage = Usage()
    return Ceilings(
        {dtype: _flops_per_second(device, DTYPES[dtype]) for dtype in dtypes},
        _bytes_per_second(device),
        _call_seconds(device),
        _cache_bytes(device),
        usage.elsewhere(),
    )


def limit(case: Case, phase: Phase, ceilings: Ceilings) -> Limit:
    """Return the least time of any implementation of a Case.

    It is the longest of three times: the Loss's fewest operations at the rate of a matrix product
    in the dtype, or in a wider one if that is faster,
    its least memory traffic at the bandwidth of a copy, and the fixed cost of a call. This is a
    model. A measured time may be shorter if

    * inputs and parameters stay in the caches from one call to the next, as at all small sizes;
    * more bytes are read than written, which is faster than a copy on many machines;
    * a gradient is computed in the forward, or is sparse;
    * the machine was busy while its ceilings were measured.

    Raises:
        ValueError: if the ceilings have no rate for the case's dtype.
    """
    if case.dtype not in ceilings.flops_per_second:
        measured = ", ".join(ceilings.flops_per_second)
        raise ValueError(f"expected the ceiling of {case.dtype}, got those of {measured}")
    flops, traffic = _work(impls.loss(case.loss).cost, case, phase)
    seconds: dict[Bound, float] = {
        "arithmetic": flops / _rate(case.dtype, ceilings),
        "bytes": traffic / ceilings.bytes_per_second,
        "overhead": ceilings.call_seconds[phase],
    }
    bound = max(seconds, key=lambda name: seconds[name])
    return Limit(seconds[bound], bound)


# A report asks for every record, and the variants of a case have the same.
@lru_cache(maxsize=1024)
def _work(cost: "Cost", case: Case, phase: Phase) -> tuple[float, float]:
    """Return the fewest operations and the fewest bytes of a phase of a Case."""
    sizes = sizes_of(case)
    # Under autocast tensors have a wider dtype than the products, and take more bytes.
    traffic = cost.traffic_bytes(phase, sizes, case.held_dtype.itemsize)
    return cost.flops(phase, sizes), traffic


def _rate(dtype: str, ceilings: Ceilings) -> float:
    """Return the rate of the fastest dtype that is as exact as a dtype."""
    exact = _as_exact(dtype)
    return max(rate for name, rate in ceilings.flops_per_second.items() if name in exact)


@cache
def _as_exact(dtype: str) -> frozenset[str]:
    """Return the names of the dtypes that are as exact as a dtype, itself among them."""
    most = torch.finfo(DTYPES[dtype]).eps
    return frozenset(name for name, each in DTYPES.items() if torch.finfo(each).eps <= most)


def sizes_of(case: Case) -> Sizes:
    """Return the values of a cost's symbols in a Case."""
    labelled = "labels" in impls.loss(case.loss).input_names
    distinct = count_distinct_labels(case) if labelled else case.batch
    return {"B": case.batch, "D": case.dim, "C": case.classes, "U": distinct}


def _flops_per_second(device: str, dtype: torch.dtype) -> float:
    """Return the rate of the fastest square matrix product, over growing sizes."""
    best, size = 0.0, SMALLEST_PRODUCT
    while size <= LARGEST_PRODUCT:
        seconds = _product_seconds(device, dtype, size)
        best = max(best, 2 * size**3 / seconds)
        if seconds > PRODUCT_SECONDS:
            break
        size *= 2
    return best


def _product_seconds(device: str, dtype: torch.dtype, size: int) -> float:
    # A GPU runs faster on constants, so the values are random. Other code seeds the global
    # generator, so they come from a generator of their own.
    generator = torch.Generator(device).manual_seed(0)
    a, b, out = torch.randn(3, size, size, dtype=dtype, device=device, generator=generator)
    calls: list[Callable[[], object]] = [lambda: torch.mm(a, b, out=out)]
    if _has_onednn(device, dtype):
        calls.append(lambda: _onednn_product(a, b))
    return min(_fastest(call, device) for call in calls)


def _has_onednn(device: str, dtype: torch.dtype) -> bool:
    """Return whether oneDNN can compute float32 products on the CPU, where ``mm`` uses MKL."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and device == "cpu" and dtype == torch.float32


def _onednn_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b``, ``[M, N]``, by oneDNN, which is twice as fast as MKL on AMD's CPUs.

    torch has no public function for it. Contenders call the same operator by code of their own, so
    a fault in their code does not change the ceilings.
    """
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")
    return result


def _bytes_per_second(device: str) -> float:
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / _fastest(lambda: target.copy_(source), device)


def _cache_bytes(device: str) -> int:
    """Return the size of the largest cache, 0 if it is unknown: only Linux and CUDA tell it."""
    if device == "cuda":
        size: int = torch.cuda.get_device_properties().L2_cache_size
        return size
    # The library reads some caches wrongly, so the kernel's own figures are read.
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    return max((1024 * int(size.read_text().strip().rstrip("K")) for size in sizes), default=0)


def _call_seconds(device: str) -> dict[Phase, float]:
    module = nn.Sigmoid()
    x = torch.zeros((), device=device, requires_grad=True)
    return {
        "forward": _fastest(lambda: module(x), device),
        "step": _fastest(lambda: torch.autograd.grad(module(x), [x]), device),
    }


def _fastest(call: Callable[[], object], device: str) -> float:
    """Return the seconds per call in the fastest of several blocks."""
    timer = clock(Timed(call), device)
    calls = calls_a_block(timer)
    seconds = list[float]()
    while len(seconds) < FEWEST_BLOCKS or sum(seconds) < SAMPLE_SECONDS:
        seconds.append(timer.block_seconds(calls))
    return min(seconds) / calls
