"""Differences between two trees are reported; suspected ones are repeated in fresh processes."""

from dataclasses import replace

import pytest

from lossbench.bench.gate.compare import Seen
from lossbench.bench.gate.confirm import confirm
from lossbench.bench.gate.findings import coverage_findings, findings_of
from lossbench.bench.gate.report import slowdown
from lossbench.bench.machine.worker import Lost
from lossbench.bench.measure.counters import Counters
from lossbench.bench.timing.samples import Timing
from lossbench.impls.triton.usage import CompiledKernel
from tests.makers.comparisons import PASSED, PLAN, comparison, found, timing


def test_equals_give_no_finding_and_a_cleared_suspicion_none():
    assert found(comparison(step=timing(1.03, processes=3))) == []


@pytest.mark.parametrize(
    ("factor", "kind"), [(1.15, "regression"), (0.8, "improvement"), (1.051, "note")]
)
def test_times_beyond_the_margin_are_told_with_factor_and_interval(factor, kind):
    (told,) = findings_of(comparison(step=timing(factor, processes=3)), margin=0.05)
    assert (told.kind, told.quantity, told.processes) == (kind, "step", 3)
    assert told.factor == pytest.approx(factor, rel=0.01)
    assert told.interval.low < told.factor < told.interval.high
    assert "3 fresh processes" in told.text


def test_the_slowdown_is_the_inverse_of_the_speedup():
    seen = slowdown(timing(1.25))
    assert seen.median == pytest.approx(1.25)
    assert seen.low < 1.25 < seen.high
    assert slowdown(timing(2.0, noise=(1.0,))).median == pytest.approx(2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"saved_bytes": 6400}, []),
        ({"saved_bytes": 6600}, [("regression", "saved_bytes")]),
        ({"forward_peak_bytes": 5600}, [("regression", "forward_peak_bytes")]),
        ({"backward_peak_bytes": 9000}, [("regression", "step_peak_bytes")]),
        ({"backward_peak_bytes": 7000}, [("improvement", "step_peak_bytes")]),
        ({"allocations": 10}, [("note", "allocations")]),
        # The base is of a version without the figure.
        ({"kept_bytes": 10**6}, []),
    ],
)
def test_bytes_fail_beyond_a_hundredth_and_a_grain(change, expected):
    assert found(comparison(replace(PASSED, memory=replace(PASSED.memory, **change)))) == expected


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        (Counters(20, 1), [("regression", "synchronisations")]),
        (Counters(25, 0), [("note", "operators")]),
    ],
)
def test_counts_are_told_and_a_new_wait_fails(counters, expected):
    assert found(comparison(replace(PASSED, counters=counters))) == expected


@pytest.mark.parametrize(
    ("base", "head", "kind"),
    [
        ("passed", "refused", "regression"),
        ("passed", "failed", "regression"),
        ("passed", "crashed", "lost"),
        ("crashed", "timeout", "lost"),
        ("passed", "departs", "note"),
        ("refused", "passed", "note"),
        ("crashed", "passed", "note"),
    ],
)
def test_a_variant_that_stops_agreeing_fails(base, head, kind):
    seen = {"passed": PASSED}
    trees = [seen.get(status, Seen(status, "why")) for status in (head, base)]
    assert found(comparison(*trees)) == [(kind, "agreement")]


KERNEL = CompiledKernel("mine", "4 warps", 90, 200, 0, 4096, 3)
ELSEWHERE = Seen("unsupported", "runs on cuda, not on cpu", kernels=(KERNEL,))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"registers": 255}, [("note", "kernel_registers")]),
        ({"stack_bytes": 8}, [("regression", "kernel_spilled_bytes")]),
        ({"matrix_instructions": 0}, [("note", "matrix_instructions")]),
    ],
)
def test_kernels_are_compared_where_they_cannot_run(change, expected):
    changed = replace(ELSEWHERE, kernels=(replace(KERNEL, **change),))
    assert found(comparison(changed, ELSEWHERE)) == expected


def test_a_kernel_that_no_longer_compiles_fails():
    broken = Seen("failed", "CompilationError")
    assert found(comparison(broken, ELSEWHERE)) == [("regression", "agreement")]
    assert found(comparison(ELSEWHERE, replace(ELSEWHERE, kernels=()))) == []


def test_what_is_refused_in_both_alike_is_no_finding():
    assert found(comparison(Seen("departs", "why"), Seen("departs", "why"))) == []


def test_new_and_vanished_variants_and_losses_are_told():
    base = {"island": ("reference", "fused"), "gone": ("reference",)}
    head = {"island": ("reference", "sparse", "mine"), "come": ("reference",)}
    told = [(f.text, f.loss, f.variant) for f in coverage_findings(base, head)]
    assert sorted(told) == [
        ("new", "come", ""),
        ("new", "island", "sparse, mine"),
        ("vanished", "gone", ""),
        ("vanished", "island", "fused"),
    ]


def test_a_suspicion_needs_three_fresh_processes_and_is_cleared_by_two():
    assert not PLAN.suspects(timing(1.04))
    assert PLAN.suspects(timing(1.06))
    assert PLAN.suspects(timing(0.9))
    assert [PLAN.settles(timing(1.3, processes=n)) for n in (1, 2, 3)] == [False, False, True]
    assert [PLAN.settles(timing(1.0, processes=n)) for n in (1, 2)] == [False, True]
    unlike = Timing.joined(timing(factor) for factor in (1.02, 1.3, 1.1))
    assert not PLAN.settles(unlike)


class Scripted:
    """A replacement for fresh workers; the n-th is slower by the n-th factor, or is lost."""

    started = 0

    def __init__(self, factors):
        self.factors = iter(factors)

    def __call__(self, _threads):
        self.started += 1
        return self

    def close(self):
        pass

    def ask(self, _timeout, _question, _trees, _case, _variant, phases, _sampling):
        factor = next(self.factors)
        if factor is None:
            raise Lost("crashed", "the worker ended")
        return {phase: timing(factor) for phase in phases}


@pytest.mark.parametrize(
    ("factors", "processes", "expected"),
    [
        ((1.2, 1.2, 1.2), 3, [("regression", "step")]),
        ((0.7, 0.7, 0.7), 3, [("improvement", "step")]),
        ((1.08, 1.0), 2, []),
        ((1.0, 1.3, 1.0), 3, []),
        ((1.1, 1.3, 1.1, 1.5, 1.0, 1.3), 6, [("note", "step")]),
        ((1.2, None), 2, [("lost", "times")]),
    ],
)
def test_a_suspicion_is_tried_in_fresh_processes_until_it_is_settled(
    factors, processes, expected, monkeypatch
):
    workers = Scripted(factors)
    monkeypatch.setattr("lossbench.bench.gate.confirm.Worker", workers)
    suspect = replace(comparison(), screened={"step": timing(1.2), "forward": timing(1.0)})
    (tried,) = confirm([suspect], (None, None), PLAN, lambda _: None)
    assert workers.started == processes
    assert found(tried) == expected
