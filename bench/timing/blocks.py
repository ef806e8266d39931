"""Warm up callables, and choose the number of calls in a block of each."""

import math
import statistics
import time
from collections.abc import Mapping

from lossbench.bench.timing.clock import Clock

# The clock itself takes about 0.1 µs per call, and a block of this length averages many calls.
BLOCK_SECONDS = 2e-3
# Blocks as long as the slowest call cost sampling time, so they are not longer than this, unless
# the budget has time for enough rounds of them.
LONGEST_BLOCK_SECONDS = 0.05
MOST_CALLS = 1000
# A call whose time is not stable after this is noisy by nature, or too slow to wait for.
LONGEST_WARM_UP_SECONDS = 0.3
# Number of single calls that are timed of each callable; the fastest should be an undisturbed one.
LOOKS, LONGEST_LOOKS_SECONDS = 20, 0.1
# A machine that is slower than this while many callables take turns is shared by other processes.
SHARED = 3.0


def calls_a_block(clock: Clock) -> int:
    """Warm up one callable, and return the number of its calls in a block."""
    return blocks({"": clock}, "")[""]


def blocks(
    clocks: Mapping[str, Clock], baseline: str, longest_seconds: float = LONGEST_BLOCK_SECONDS
) -> dict[str, int]:
    """Warm up several callables, and return the number of calls of each in a block.

    All blocks take about as long as the slowest call. A stall of the machine hits a long block more
    often than a short one, so the median over long blocks contains stalls that the median over
    short blocks does not, and their ratio would be biased. For the same reason callables about as
    fast as the baseline get as many calls as the baseline.

    Args:
        clocks: clock of each callable, by name.
        baseline: name of the callable that the others are compared with.
        longest_seconds: longest block of more than one call.
    """
    fastest = {name: _warm_up(clock) for name, clock in clocks.items()}
    # On a busy machine every block may be disturbed, but some single calls are not, so calls are
    # also timed one by one.
    for name, clock in clocks.items():
        fastest[name] = min(fastest[name], _look(clock))
    length = min(longest_seconds, max(fastest.values())) / _slowdown(clocks, fastest)
    length = max(BLOCK_SECONDS, length)
    sizes = {name: _calls_within(length, seconds) for name, seconds in fastest.items()}
    usual = sizes.get(baseline, 0)
    return {name: usual if usual / 2 <= n <= 2 * usual else n for name, n in sizes.items()}


def _warm_up(clock: Clock) -> float:
    """Call until three blocks agree, and return the seconds per call of the fastest block."""
    calls, seconds = 1, list[float]()
    start = time.perf_counter()
    while True:
        seconds.append(clock.block_seconds(calls) / calls)
        # A disturbed block would make all later blocks too short, so the fastest one counts.
        fastest = min(seconds[-3:])
        wanted = _calls_within(BLOCK_SECONDS, fastest)
        steady = len(seconds) > 3 and max(seconds[-3:]) < 1.2 * fastest and 2 * calls >= wanted
        if steady or time.perf_counter() - start > LONGEST_WARM_UP_SECONDS:
            return min(seconds)
        calls = min(wanted, 2 * calls + 8)


def _look(clock: Clock) -> float:
    """Return the seconds of the fastest of several single calls."""
    seconds = list[float]()
    while len(seconds) < LOOKS and sum(seconds) < LONGEST_LOOKS_SECONDS:
        seconds.append(clock.block_seconds(1))
    return min(seconds)


def _slowdown(clocks: Mapping[str, Clock], fastest: Mapping[str, float]) -> float:
    """Return how much slower short blocks are than their fastest calls, 1 if not by much.

    If other processes use the processors, a long block could take many times the budget.
    """
    sizes = {name: _calls_within(BLOCK_SECONDS, seconds) for name, seconds in fastest.items()}
    slower = [clocks[name].block_seconds(n) / (n * fastest[name]) for name, n in sizes.items()]
    found = statistics.median(slower)
    return found if found > SHARED else 1.0


def _calls_within(length: float, seconds: float) -> int:
    return max(1, min(MOST_CALLS, math.ceil(length / seconds)))
