import time

import numpy as np
import pytest

from lossbench.bench.timing.blocks import BLOCK_SECONDS, LONGEST_BLOCK_SECONDS, MOST_CALLS, blocks
from lossbench.bench.timing.clock import Timed
from lossbench.bench.timing.intervals import ratio_interval
from lossbench.bench.timing.sampling import ROUNDS_BEFORE_STOP, Sampling, interleave


def test_every_callable_gets_a_sample_a_round_and_is_prepared_before_every_call():
    seen = {"a": [], "b": []}

    def timed(name):
        note = seen[name].append
        return Timed(lambda: note("call"), lambda: note("prepare"), lambda _: note("keep"))

    timings = interleave({name: timed(name) for name in seen}, "a", Sampling(budget_seconds=0.05))
    a, b = (timings[name].processes[0] for name in "ab")
    assert len(a.seconds) == len(b.seconds) >= 6
    assert b.reference_seconds == a.seconds
    for notes in seen.values():
        assert notes == ["prepare", "call", "keep"] * (len(notes) // 3)
        assert len(notes) >= 3 * a.calls * len(a.seconds)


class Steady:
    """A clock that reads what it is told, a block after another."""

    def __init__(self, *seconds):
        self.seconds = list(seconds)

    def block_seconds(self, calls):
        taken = self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        return calls * taken


def test_equals_get_blocks_of_as_many_calls():
    # The second was disturbed while it warmed up, and at all looks but the last.
    clocks = {"a": Steady(100e-6), "b": Steady(*[900e-6] * 20, 150e-6)}
    assert blocks(clocks, "a") == {"a": 20, "b": 20}


def test_all_blocks_take_as_long_as_the_slowest_call():
    clocks = {"a": Steady(0.04), "b": Steady(0.0021), "c": Steady(1e-6)}
    assert blocks(clocks, "a") == {"a": 1, "b": 20, "c": MOST_CALLS}


def test_blocks_of_fast_calls_have_a_least_length():
    clocks = {"a": Steady(BLOCK_SECONDS / 20), "b": Steady(BLOCK_SECONDS / 5)}
    assert blocks(clocks, "b") == {"a": 20, "b": 5}


def test_a_call_longer_than_a_block_may_be_does_not_lengthen_the_others():
    slow, fast = 10 * LONGEST_BLOCK_SECONDS, LONGEST_BLOCK_SECONDS / 100
    clocks = {"a": Steady(slow), "b": Steady(fast)}
    assert blocks(clocks, "a") == {"a": 1, "b": 100}
    assert blocks(clocks, "a", slow) == {"a": 1, "b": 1000}


class Stalled:
    """The clock of a machine that stalls for 1 ms, at random and 70 times a second."""

    STALL_SECONDS, STALLS_PER_SECOND = 1e-3, 70

    def __init__(self, seconds, seed):
        self.seconds, self.random = seconds, np.random.default_rng(seed)

    def block_seconds(self, calls):
        undisturbed = calls * self.seconds
        stalls = self.random.poisson(self.STALLS_PER_SECOND * undisturbed)
        return undisturbed + self.STALL_SECONDS * stalls


@pytest.mark.parametrize("seed", range(3))
def test_stalls_bias_no_ratio_of_calls_of_unequal_length(seed):
    slow, fast = 0.04, 0.002

    def bias(sizes):
        clocks = {"slow": Stalled(slow, seed), "fast": Stalled(fast, seed + 100)}
        logs = [np.log(clocks[name].block_seconds(n) / n) for name, n in sizes * 1000]
        ratio = ratio_interval([np.array(logs[::2]) - np.array(logs[1::2])])
        return ratio.median / (slow / fast) - 1

    sizes = blocks({"slow": Stalled(slow, seed), "fast": Stalled(fast, seed)}, "slow")
    assert abs(bias(list(sizes.items()))) < 0.01
    # With one call in each block, the median of the slow one alone contains stalls.
    assert bias([("slow", 1), ("fast", 1)]) > 0.04


def test_sampling_ends_when_the_interval_is_narrow_enough():
    def nap():
        time.sleep(4e-3)

    calls = {"a": Timed(nap), "b": Timed(nap)}
    wide, narrow = (
        interleave(calls, "a", Sampling(budget_seconds=1.0, half_width=width))["b"]
        for width in (0.5, 1e-9)
    )
    assert len(wide.seconds) == ROUNDS_BEFORE_STOP
    assert len(narrow.seconds) > ROUNDS_BEFORE_STOP


def test_sampling_ends_at_ten_times_the_budget_even_without_six_rounds():
    calls = {"a": Timed(lambda: time.sleep(0.02))}
    timings = interleave(calls, "a", Sampling(budget_seconds=1e-4))
    assert 1 <= len(timings["a"].seconds) < 6


def test_blocks_are_short_where_other_processes_use_the_machine():
    # Of 20 single calls one is fast; all blocks take fifty times as long.
    def shared(seconds):
        return Steady(*[50 * seconds] * 15, seconds, 50 * seconds)

    sizes = blocks({"a": shared(0.02), "b": shared(1e-4)}, "a", 0.02)
    assert sizes["a"] == 1
    assert sizes["b"] == 20
