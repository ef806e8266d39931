"""Time calls one by one: with the performance counter on the CPU, and with events on CUDA.

Before every call, outside the timed region, a function can prepare it: other inputs and parameters.
After every call, when its clock has stopped, a function can look at the result.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from lossbench.bench.machine.conditions import read_gpu

# Bound at import: a contender that replaces the function in its module replaces nothing here.
_now = time.perf_counter
# Empty synchronisations that are timed, to know the cost of one.
EMPTY_WAITS = 20
# A clock rate below this share of the highest one is throttling; jitter is smaller.
SLOW_CLOCK = 0.95
# About 10 ms, longer than a call takes to launch its work.
DELAY_CYCLES = 20_000_000


def _nothing() -> None:
    """Prepare nothing."""


def _drop(_result: object) -> None:
    """Look at no result."""


@dataclass(frozen=True)
class Timed:
    """A callable to time, and what runs around each call outside the timed region.

    Attributes:
        call: function to time; the release of its result counts as a part of the call.
        prepare: function to run before every call.
        keep: function that gets the result of every call, as soon as the clock has stopped.
    """

    call: Callable[[], object]
    prepare: Callable[[], None] = _nothing
    keep: Callable[[object], None] = _drop


class Clock(Protocol):
    """Times blocks of calls of one callable."""

    def block_seconds(self, calls: int) -> float:
        """Return the time of a number of calls together, in seconds."""


class CpuClock:
    """The performance counter around each call, without garbage collection.

    Its own time in the timed region is about 0.1 µs per call, and the same for every callable.
    """

    def __init__(self, timed: Timed, now: Callable[[], float] = _now) -> None:
        """Prepare to time a callable by a counter of seconds."""
        self._timed, self._now = timed, now

    def block_seconds(self, calls: int) -> float:
        """Return the time of a number of calls together, in seconds."""
        call, prepare, keep = self._timed.call, self._timed.prepare, self._timed.keep
        now, seconds = self._now, 0.0
        with _without_collection():
            for _ in range(calls):
                prepare()
                start = now()
                result = call()
                seconds += now() - start
                keep(result)
                start = now()
                del result
                seconds += now() - start
        return seconds


class CudaDevice(Protocol):
    """The parts of CUDA that a clock needs."""

    def event(self) -> torch.cuda.Event:
        """Return a new event that has a time."""

    def synchronize(self) -> None:
        """Wait until every stream of the device is idle."""

    def clear_cache(self) -> None:
        """Overwrite the second-level cache, on the current stream."""

    def delay(self) -> None:
        """Keep the current stream busy for some milliseconds; the CPU and other streams go on."""


class CudaClock:
    """A pair of CUDA events around each call, and the wait for all other streams after it.

    The events measure the time on the current stream: the kernels, and the gaps in which the stream
    waits for the CPU to launch them. Each call starts on an idle device with a cold second-level
    cache; clearing the cache gives the CPU a lead, which hides some gaps. Work on another stream
    does not delay the end event. So the clock waits for the whole device after the event, and adds
    what the wait takes beyond that for an idle device, if it is more than as long again.

    The wait for an idle device is a median: one that the host interrupts would hide as much work on
    other streams in every later call.
    """

    def __init__(
        self,
        timed: Timed,
        device: CudaDevice | None = None,
        now: Callable[[], float] = _now,
    ) -> None:
        """Prepare to time a callable; the device and the host's clock can be simulated."""
        self._timed, self._now = timed, now
        self._device = device or _Cuda()
        self._device.synchronize()
        self._idle_seconds = statistics.median(self._wait() for _ in range(EMPTY_WAITS))

    def block_seconds(self, calls: int) -> float:
        """Return the time of a number of calls together, in seconds, without clearing the cache."""
        with _without_collection():
            return sum(self._call_seconds() for _ in range(calls))

    def _call_seconds(self) -> float:
        start, end = self._device.event(), self._device.event()
        self._timed.prepare()
        self._device.synchronize()
        self._device.clear_cache()
        start.record()
        result = self._timed.call()
        end.record()
        end.synchronize()
        late = self._wait() - self._idle_seconds
        self._timed.keep(result)
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1000 + (late if late > self._idle_seconds else 0.0)

    def _wait(self) -> float:
        """Wait until all streams are idle, and return the seconds."""
        start = self._now()
        self._device.synchronize()
        return self._now() - start


class _Cuda:
    """The current CUDA device."""

    def __init__(self) -> None:
        size = 2 * torch.cuda.get_device_properties().L2_cache_size
        self._beyond_cache = torch.empty(size, dtype=torch.int8, device="cuda")

    def event(self) -> torch.cuda.Event:
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def clear_cache(self) -> None:
        self._beyond_cache.zero_()

    def delay(self) -> None:
        torch.cuda._sleep(DELAY_CYCLES)  # type: ignore[no-untyped-call]


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect no garbage inside the block, as ``timeit`` does."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def call_late(
    give: Callable[[], None], call: Callable[[], object], device: CudaDevice | None = None
) -> object:
    """Return the result of a call that begins before its inputs are on the device.

    Work that the call puts on the current stream comes after the inputs. On another stream it reads
    what was there before, unless it waits for the current one.

    Args:
        give: function that writes the inputs on the current stream.
        call: function to call.
        device: device; it can be simulated.
    """
    device = device or _Cuda()
    device.synchronize()
    device.delay()
    give()
    return call()


def clock(timed: Timed, device: str) -> Clock:
    """Return a clock for a callable on a device."""
    return CudaClock(timed) if device == "cuda" else CpuClock(timed)


def gpu_megahertz(device: str) -> float:
    """Return the clock rate of the GPU in MHz; 0 on the CPU, or if it cannot be read."""
    return read_gpu("clock_rate") if device == "cuda" else 0.0


def throttled(megahertz: list[float]) -> int:
    """Return the number of clock rates that are well below the highest."""
    return sum(rate < SLOW_CLOCK * max(megahertz) for rate in megahertz)
