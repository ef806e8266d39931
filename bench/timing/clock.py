"""Time calls in blocks, with torch's clock on the CPU and with CUDA's events on CUDA."""

import math
import time
import timeit
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.utils.benchmark

# The clock itself takes about 0.1 µs; in a block of this length that is below one ten-thousandth.
BLOCK_SECONDS = 2e-3
# Each step may shrink a state, such as a decaying centre. With at most this many calls per block it
# stays a normal floating-point number.
MOST_CALLS = 100
# A call whose time is not stable after this is noisy by nature, or too slow to wait for.
LONGEST_WARM_UP_SECONDS = 0.3
# Number of single calls that are timed of each callable; the fastest should be an undisturbed one.
LOOKS = 20
LONG_SECONDS = 20 * BLOCK_SECONDS
# A clock rate below this share of the highest one is throttling; jitter is smaller.
SLOW_CLOCK = 0.95


class Clock(Protocol):
    """Times blocks of calls of one callable."""

    def block_seconds(self, calls: int) -> float:
        """Return the time of a number of calls together, in seconds."""


class CpuClock:
    """The standard library's timer with torch's clock."""

    def __init__(self, call: Callable[[], object]) -> None:
        """Prepare to time a callable."""
        self._timer = timeit.Timer(call, timer=torch.utils.benchmark.timer)

    def block_seconds(self, calls: int) -> float:
        """Return the time of a number of calls together, in seconds."""
        return self._timer.timeit(calls)


class CudaClock:
    """A pair of CUDA events around each call; each call starts with a cold second-level cache.

    The events measure the time on the stream: the kernels, and the gaps in which the stream waits
    for the CPU to launch them. Clearing the cache gives the CPU a lead, which hides some gaps.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        """Prepare to time a callable."""
        self._call = call
        size = 2 * torch.cuda.get_device_properties().L2_cache_size
        self._beyond_cache = torch.empty(size, dtype=torch.int8, device="cuda")

    def block_seconds(self, calls: int) -> float:
        """Return the time of a number of calls together, in seconds, without clearing the cache."""
        pairs = [(_event(), _event()) for _ in range(calls)]
        for start, end in pairs:
            self._beyond_cache.zero_()
            start.record()
            self._call()
            end.record()
        torch.cuda.synchronize()
        milliseconds: float = sum(start.elapsed_time(end) for start, end in pairs)
        return milliseconds / 1000


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def clock(call: Callable[[], object], device: str) -> Clock:
    """Return a clock for a callable on a device."""
    return CudaClock(call) if device == "cuda" else CpuClock(call)


def calls_a_block(clock: Clock) -> int:
    """Warm up one callable, and return the number of its calls in a block."""
    return blocks({"": clock}, "")[""]


def blocks(clocks: Mapping[str, Clock], baseline: str) -> dict[str, int]:
    """Warm up several callables, and return the number of calls of each in a block.

    Callables about as fast as the baseline get as many calls as the baseline. If stalls are rare
    and long, the median over blocks of few calls is lower than over blocks of many calls, and two
    equally fast callables would seem different.
    """
    fastest = {name: _warm_up(clock) for name, clock in clocks.items()}
    # On a busy machine every block may be disturbed, but some single calls are not, so short calls
    # are also timed one by one. A long call fills its block alone.
    short = [name for name, seconds in fastest.items() if seconds < LONG_SECONDS]
    for name in short * LOOKS:
        fastest[name] = min(fastest[name], clocks[name].block_seconds(1))
    sizes = {name: _calls_within(seconds) for name, seconds in fastest.items()}
    usual = sizes[baseline]
    return {name: usual if usual / 2 <= n <= 2 * usual else n for name, n in sizes.items()}


def _warm_up(clock: Clock) -> float:
    """Call until three blocks agree, and return the seconds per call of the fastest block."""
    calls, seconds = 1, list[float]()
    start = time.perf_counter()
    while True:
        seconds.append(clock.block_seconds(calls) / calls)
        # A disturbed block would make all later blocks too short, so the fastest one counts.
        fastest = min(seconds[-3:])
        wanted = _calls_within(fastest)
        steady = len(seconds) > 3 and max(seconds[-3:]) < 1.2 * fastest and 2 * calls >= wanted
        if steady or time.perf_counter() - start > LONGEST_WARM_UP_SECONDS:
            return min(seconds)
        calls = min(wanted, 2 * calls + 8)


def _calls_within(seconds: float) -> int:
    return max(1, min(MOST_CALLS, math.ceil(BLOCK_SECONDS / seconds)))


def gpu_megahertz(device: str) -> float:
    """Return the clock rate of the GPU in MHz; 0 on the CPU, or if it cannot be read."""
    if device != "cuda":
        return 0.0
    try:
        return float(torch.cuda.clock_rate())
    except (ImportError, ModuleNotFoundError, RuntimeError):
        # Reading the rate needs NVIDIA's management library, and permission to query it.
        return 0.0


def throttled(megahertz: list[float]) -> int:
    """Return the number of clock rates that are well below the highest."""
    return sum(rate < SLOW_CLOCK * max(megahertz) for rate in megahertz)
