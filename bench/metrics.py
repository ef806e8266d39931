"""Every figure of a Record, once.

Tables, frame, report, README, docs, asv, pytest-benchmark, comparison and gate iterate over
``METRICS`` and have no list of their own, so a new figure is one entry. asv imports this module
when it looks for benchmarks, so heavy libraries are imported only where they are used.
"""

from collections.abc import Iterator
from typing import Any

from lossbench.bench.kernel_metrics import CONFIGURATION, KERNEL_METRICS
from lossbench.bench.metric import Compared, Gated, Metric, Row, Tracked, at, quotient_of
from lossbench.bench.readings import (
    below_limit,
    compile_process,
    largest_error,
    limit_text,
    samples_of,
    speedup_text,
    step_limit,
    step_ratios,
    verdict,
    verdict_text,
)

STEP_RATIO = "step_ratio"
"""The name of 1 over ``step_speedup`` in asv, which reports every rise as a regression."""


def _ends(phase: str) -> Iterator[Metric]:
    """Yield the figures of the interval of a phase's speed-up."""
    for end, words in (("low", "lower"), ("high", "upper")):
        name = f"{phase}_speedup"
        meaning = f"{words} end of the 95% interval of `{name}`"
        yield Metric(f"{name}_{end}", "ratio", meaning, at(f"{phase}.speedup.{end}"))


METRICS: tuple[Metric, ...] = (
    Metric(
        "step_seconds",
        "seconds",
        "median time of a step: forward, and backward to every input and parameter",
        at("step.median_seconds"),
        heading="step",
        asv=Tracked(rounds=3, samples=samples_of("step")),
    ),
    Metric(
        "forward_seconds",
        "seconds",
        "median time of a forward that builds the graph for the backward",
        at("forward.median_seconds"),
        heading="forward",
        asv=Tracked(rounds=3, samples=samples_of("forward")),
    ),
    Metric(
        "step_speedup",
        "ratio",
        "the reference's step over the variant's, median of pairs from the same round, with its "
        "95% interval; † if fewer than three processes sampled it, since the interval then leaves "
        "out how processes differ; asv stores the inverse, `step_ratio`",
        at("step.speedup.median"),
        heading="speed-up [95%]",
        text=speedup_text,
        asv=Tracked(rounds=3, samples=step_ratios, inverse=STEP_RATIO),
        compared="speedup",
    ),
    *_ends("step"),
    Metric(
        "forward_speedup",
        "ratio",
        "the reference's forward over the variant's, median of pairs from the same round",
        at("forward.speedup.median"),
    ),
    *_ends("forward"),
    Metric(
        "graphed_step_seconds",
        "seconds",
        "median time of a step that is replayed as a CUDA graph, without launches by the CPU",
        at("graphed.median_seconds"),
    ),
    Metric(
        "graphed_step_speedup",
        "ratio",
        "the reference's replayed step over the variant's, median of pairs from the same round",
        at("graphed.speedup.median"),
    ),
    Metric(
        "samples_per_second",
        "1/s",
        "samples per second: batch divided by `step_seconds`",
        derive=quotient_of("batch", "step_seconds"),
        heading="samples/s",
    ),
    Metric(
        "step_peak_bytes",
        "bytes",
        "most bytes at once above inputs and parameters in a step, gradients included",
        at("memory.step_peak_bytes"),
        heading="peak",
        asv=Tracked(),
        compared="bytes",
        gated="bytes",
    ),
    Metric(
        "forward_peak_bytes",
        "bytes",
        "most bytes at once above inputs and parameters in a forward, outputs included",
        at("memory.forward_peak_bytes"),
        gated="bytes",
    ),
    Metric(
        "saved_bytes",
        "bytes",
        "bytes that the forward saves for the backward",
        at("memory.saved_bytes"),
        heading="saved",
        asv=Tracked(),
        compared="bytes",
        gated="bytes",
    ),
    Metric(
        "kept_bytes",
        "bytes",
        "bytes that a module keeps between steps beside parameters and buffers",
        at("memory.kept_bytes"),
        heading="kept",
        gated="bytes",
    ),
    Metric(
        "operators",
        "count",
        "number of torch operators that a step calls",
        at("counters.operators"),
        heading="ops",
        gated="note",
    ),
    Metric(
        "synchronisations",
        "count",
        "number of times that a step waits for the device",
        at("counters.synchronisations"),
        gated="waits",
    ),
    Metric(
        "allocations",
        "count",
        "buffers that a step takes",
        at("memory.allocations"),
        gated="note",
    ),
    *KERNEL_METRICS,
    Metric(
        "collectives",
        "count",
        "number of collectives of a step, if several ranks compute it",
        at("traffic.calls"),
    ),
    Metric(
        "given_bytes",
        "bytes",
        "bytes that each rank gives to the collectives of a step",
        at("traffic.given_bytes"),
    ),
    Metric(
        "limit_seconds",
        "seconds",
        "lower bound of the time of a step on this machine",
        step_limit("seconds"),
    ),
    Metric(
        "bound",
        "word",
        "what determines `limit_seconds`: `arithmetic`, `bytes` or `overhead`",
        step_limit("bound"),
    ),
    Metric(
        "limit_share",
        "share",
        "lower bound of the step's time on this machine, divided by the step's time, and what "
        "determines the bound: `arithmetic` at the rate of a matrix product, `bytes` at the "
        "bandwidth of a copy, or the `overhead` of a call; above 100% with the reason, "
        "`below_limit`",
        derive=quotient_of("limit_seconds", "step_seconds"),
        heading="of limit",
        text=limit_text,
    ),
    Metric(
        "below_limit",
        "word",
        "why the step takes less time than `limit_seconds`: the data fit `in caches`, the gradient "
        "is `sparse` or was computed with the loss in `one pass`, products may be faster in a "
        "`wider dtype`, the machine was `busy` while its ceilings were measured, a `ceiling` may "
        "be too low by a factor of 2, or `unexplained`; `no` if it does not",
        below_limit,
    ),
    Metric(
        "error",
        "relative error",
        "largest relative error against the reference in float64, over loss, outputs, "
        "gradients and state",
        largest_error,
        heading="error",
        asv=Tracked(),
        compared="error",
    ),
    Metric(
        "budget_share",
        "share",
        "largest error of a quantity as a share of its budget; above 1 the variant is refused",
        at("worst.budget_share"),
    ),
    Metric(
        "worst_quantity",
        "word",
        "quantity with the largest share of its error budget",
        at("worst.quantity"),
    ),
    Metric(
        "verdict",
        "word",
        "`faster`, `slower`, `same` (the interval lies within 2% of 1) or `unclear`; `reference` "
        "for the reference itself; or the status that explains why there are no times",
        verdict,
        heading="verdict",
        text=verdict_text,
    ),
    Metric(
        "processes",
        "count",
        "number of processes that sampled the times; each process has a bias of its own",
        lambda found: len(found.step.processes) if found.step else None,
    ),
    Metric(
        "compile_seconds",
        "seconds",
        "time to compile in a fresh process with an empty cache, with the start of the compiler",
        at("compilation.compile_seconds"),
        asv=Tracked(compiled=True),
    ),
    Metric(
        "warm_compile_seconds",
        "seconds",
        "time to compile in a fresh process with the code in the cache, with the start of the "
        "compiler",
        at("warm_compilation.compile_seconds"),
    ),
    Metric(
        "compile_process",
        "word",
        "`fresh` if `compile_seconds` is of a fresh process; `shared` in older records, where the "
        "process had compiled before: the time may be several times too short",
        compile_process,
    ),
    CONFIGURATION,
)

SHOWN = tuple(metric for metric in METRICS if metric.heading)
"""The columns of printed tables and of the report, in order."""

TRACKED = tuple(metric for metric in METRICS if metric.asv)
"""The figures that asv stores."""


def compared(kind: Compared) -> tuple[Metric, ...]:
    """Return the figures that two runs are compared by, with one of the rules."""
    return tuple(metric for metric in METRICS if metric.compared == kind)


def gated(*kinds: Gated) -> tuple[Metric, ...]:
    """Return the figures on which the gate acts in one of the given ways."""
    return tuple(metric for metric in METRICS if metric.gated in kinds)


def figures(found: Any) -> dict[str, Any]:
    """Return every figure that can be read from a Record, by name, without missing ones."""
    read = {metric.name: metric.of(found) for metric in METRICS if metric.read}
    return {name: value for name, value in read.items() if value is not None}


def derived(row: Row) -> dict[str, Any]:
    """Return the figures that are computed from other figures of a row."""
    return {metric.name: metric.derive(row) for metric in METRICS if metric.derive}
