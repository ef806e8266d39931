"""How long a call takes, in blocks of calls: torch's clock on the CPU, CUDA's events on CUDA."""

import math
import time
import timeit
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.utils.benchmark

# Long enough that the clock's own time, about 0.1 µs, is below a ten-thousandth of a block.
BLOCK_SECONDS = 2e-3
# Short enough that a state which a step shrinks, such as a decaying centre, stays a normal number.
MOST_CALLS = 100
# A call that is not steady by then is noisy by nature, or too slow to wait for.
LONGEST_WARM_UP_SECONDS = 0.3
# How often each callable is looked at, for the fastest look to be an undisturbed one.
LOOKS = 20
LONG_SECONDS = 20 * BLOCK_SECONDS
# A clock this far below the fastest that was seen has been held down, not merely jittered.
SLOW_CLOCK = 0.95


class Clock(Protocol):
    """Times blocks of calls of one callable."""

    def block_seconds(self, calls: int) -> float:
        """Return how long so many calls take together."""


class CpuClock:
    """The standard library's timer over torch's clock."""

    def __init__(self, call: Callable[[], object]) -> None:
        """Time a callable."""
        self._timer = timeit.Timer(call, timer=torch.utils.benchmark.timer)

    def block_seconds(self, calls: int) -> float:
        """Return how long so many calls take together."""
        return self._timer.timeit(calls)


class CudaClock:
    """A pair of CUDA events around each call, each with a cold second-level cache.

    What is timed is what the stream sees: the kernels, and the gaps in which it waits for the
    processor to launch them, as far as the clearing of the cache has not hidden them.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        """Time a callable."""
        self._call = call
        size = 2 * torch.cuda.get_device_properties().L2_cache_size
        self._beyond_cache = torch.empty(size, dtype=torch.int8, device="cuda")

    def block_seconds(self, calls: int) -> float:
        """Return how long so many calls take together, the clearing of the cache left out."""
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
    """Return the clock of a device for a callable."""
    return CudaClock(call) if device == "cuda" else CpuClock(call)


def calls_a_block(clock: Clock) -> int:
    """Return how many calls of one callable fill a block."""
    return blocks({"": clock}, "")[""]


def blocks(clocks: Mapping[str, Clock], baseline: str) -> dict[str, int]:
    """Warm up several callables, and return how many calls of each fill a block.

    Those about as fast as the baseline get blocks of as many calls as it. Where stalls are rare and
    long the median of means over few calls lies below that over many, and equals would differ.
    """
    fastest = {name: _warm_up(clock) for name, clock in clocks.items()}
    # Call by call, of which some are undisturbed on the busiest machine, where no block may be; a
    # long call fills its block alone.
    short = [name for name, seconds in fastest.items() if seconds < LONG_SECONDS]
    for name in short * LOOKS:
        fastest[name] = min(fastest[name], clocks[name].block_seconds(1))
    sizes = {name: _calls_within(seconds) for name, seconds in fastest.items()}
    usual = sizes[baseline]
    return {name: usual if usual / 2 <= n <= 2 * usual else n for name, n in sizes.items()}


def _warm_up(clock: Clock) -> float:
    """Call until three blocks agree, and return the seconds of a call in the fastest of all."""
    calls, seconds = 1, list[float]()
    start = time.perf_counter()
    while True:
        seconds.append(clock.block_seconds(calls) / calls)
        # The fastest, since a disturbed block would make all later ones too short.
        fastest = min(seconds[-3:])
        wanted = _calls_within(fastest)
        steady = len(seconds) > 3 and max(seconds[-3:]) < 1.2 * fastest and 2 * calls >= wanted
        if steady or time.perf_counter() - start > LONGEST_WARM_UP_SECONDS:
            return min(seconds)
        calls = min(wanted, 2 * calls + 8)


def _calls_within(seconds: float) -> int:
    return max(1, min(MOST_CALLS, math.ceil(BLOCK_SECONDS / seconds)))


def gpu_megahertz(device: str) -> float:
    """Return the clock rate of the GPU's processors; 0 on the CPU, or where nothing tells it."""
    if device != "cuda":
        return 0.0
    try:
        return float(torch.cuda.clock_rate())
    except (ImportError, ModuleNotFoundError, RuntimeError):
        # It needs NVIDIA's management library, and leave to ask it.
        return 0.0


def throttled(megahertz: list[float]) -> int:
    """Return how many of the rates lie well below the highest."""
    return sum(rate < SLOW_CLOCK * max(megahertz) for rate in megahertz)
