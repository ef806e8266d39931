import time

from lossbench.bench.timing.clock import MOST_CALLS, blocks
from lossbench.bench.timing.sampling import FEWEST_ROUNDS, Sampling, interleave


def test_every_callable_gets_a_sample_a_round_and_is_reset_before_it():
    counts = {"a": 0, "b": 0, "resets": 0}

    def bump(name):
        def call():
            counts[name] += 1

        return call

    timings = interleave(
        {"a": bump("a"), "b": bump("b")},
        "a",
        Sampling(budget_seconds=0.05),
        {"b": bump("resets")},
    )
    a, b = (timings[name].processes[0] for name in "ab")
    assert len(a.seconds) == len(b.seconds) == counts["resets"] >= 6
    assert b.reference_seconds == a.seconds
    assert counts["a"] >= a.calls * len(a.seconds)


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


def test_a_block_is_filled_by_as_many_calls_as_it_takes():
    clocks = {"a": Steady(1e-3), "b": Steady(100e-6), "c": Steady(0.1), "d": Steady(1e-6)}
    assert blocks(clocks, "b") == {"a": 2, "b": 20, "c": 1, "d": MOST_CALLS}


def test_sampling_ends_when_the_interval_is_narrow_enough():
    def nap():
        time.sleep(2e-3)

    calls = {"a": nap, "b": nap}
    wide, narrow = (
        interleave(calls, "a", Sampling(budget_seconds=0.5, half_width=width))["b"]
        for width in (0.5, 1e-9)
    )
    assert len(wide.seconds) < 3 * FEWEST_ROUNDS
    assert len(narrow.seconds) > 4 * FEWEST_ROUNDS


def test_sampling_ends_at_ten_times_the_budget_even_without_six_rounds():
    timings = interleave({"a": lambda: time.sleep(0.02)}, "a", Sampling(budget_seconds=1e-4))
    assert 1 <= len(timings["a"].seconds) < 6
