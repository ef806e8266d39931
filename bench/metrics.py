"""Every figure of a Record, once.

Tables, frame, report, README, docs, asv, pytest-benchmark, comparison and gate iterate over
``METRICS`` and have no list of their own, so a new figure is one entry. asv imports this module
when it looks for benchmarks, so heavy libraries are imported only where they are used.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lossbench.bench.metric import Compared, Gated, Metric, Row, Tracked, at, quotient_of

STEP_RATIO = "step_ratio"
"""The name of 1 over ``step_speedup`` in asv, which reports every rise as a regression."""


ABOVE_LIMIT = "no"
"""The value of ``below_limit`` for a time that is not below the machine's limit."""


def _largest_error(found: Any) -> float | None:
    return max((part.error for part in found.agreement), default=None)


def _verdict(found: Any) -> str | None:
    from lossbench.impls.registry import REFERENCE

    if found.step is None:
        return None
    return REFERENCE if found.variant == REFERENCE else str(found.step.verdict)


def _compile_process(found: Any) -> str | None:
    if found.compilation is None:
        return None
    return "fresh" if found.compilation.fresh else "shared"


def _limit(name: str) -> Callable[[Any], Any]:
    """Return the function that reads a field of the time limit of a Record's step."""

    def read(found: Any) -> Any:
        least = found.limit("step") if found.step else None
        return getattr(least, name) if least else None

    return read


def _ends(phase: str) -> Iterator[Metric]:
    """Yield the figures of the interval of a phase's speed-up."""
    for end, words in (("low", "lower"), ("high", "upper")):
        name = f"{phase}_speedup"
        meaning = f"{words} end of the 95% interval of `{name}`"
        yield Metric(f"{name}_{end}", "ratio", meaning, at(f"{phase}.speedup.{end}"))


def _samples(phase: str) -> Callable[[Any], dict[str, Any] | None]:
    """Return the function that gives asv the samples of a phase, of one process."""

    def samples(found: Any) -> dict[str, Any] | None:
        timing = getattr(found, phase)
        if timing is None:
            return None
        (process,) = timing.processes
        return {"samples": list(process.seconds), "number": process.calls}

    return samples


def _step_ratios(found: Any) -> dict[str, Any] | None:
    """Return the step's time over the reference's by round; ``None`` for the reference itself."""
    from lossbench.impls.registry import REFERENCE

    if found.step is None or found.variant == REFERENCE:
        return None
    (process,) = found.step.processes
    pairs = zip(process.seconds, process.reference_seconds, strict=True)
    return {"samples": [own / reference for own, reference in pairs], "number": process.calls}


def _speedup_text(row: Row) -> str:
    from lossbench.bench.format import spread
    from lossbench.bench.marks import FEW_PROCESSES, signs
    from lossbench.bench.timing.intervals import Interval
    from lossbench.impls.registry import REFERENCE

    median, low, high = (row.get(f"step_speedup{end}") for end in ("", "_low", "_high"))
    if row["variant"] == REFERENCE or median is None:
        return ""
    # asv stores no 95% interval.
    if low is None or high is None:
        return f"{median:.3g}x"
    return spread(Interval(median, low, high)) + signs(row, [FEW_PROCESSES])


def _limit_text(row: Row) -> str:
    share, excess = row.get("limit_share"), row.get("below_limit", ABOVE_LIMIT)
    if share is None:
        return ""
    words = f"{share:.0%} {row['bound']}"
    return words if excess == ABOVE_LIMIT else f"{words}, {excess}"


def _below_limit(found: Any) -> str | None:
    excess = found.below_limit("step") if found.step else None
    return excess if excess is None else excess or ABOVE_LIMIT


def _verdict_text(row: Row) -> str:
    return str(row.get("verdict") or row["status"])


def _of_kernels(name: str, combine: Callable[[Iterable[int]], int]) -> Callable[[Any], int | None]:
    """Return the function that combines a count of all kernels of a Record."""

    def read(found: Any) -> int | None:
        return combine(getattr(each, name) for each in found.kernels) if found.kernels else None

    return read


def _kernel_figures() -> Iterator[Metric]:
    """Yield the counts of a Triton variant's kernels, which need no GPU."""
    yield Metric(
        "kernel_registers",
        "count",
        "most registers of a thread among the Triton kernels of a step, as compiled by default",
        _of_kernels("registers", max),
        gated="note",
    )
    yield Metric(
        "kernel_spilled_bytes",
        "bytes",
        "bytes of a thread that these kernels keep in memory for want of registers, all together",
        _of_kernels("stack_bytes", sum),
        gated="waits",
    )
    yield Metric(
        "kernel_shared_bytes",
        "bytes",
        "most shared memory of a program among these kernels",
        _of_kernels("shared_bytes", max),
        gated="note",
    )
    yield Metric(
        "matrix_instructions",
        "count",
        "instructions in the code of these kernels that multiply matrices, all together",
        _of_kernels("matrix_instructions", sum),
        gated="note",
    )


def _configuration(found: Any) -> str | None:
    """Return the configurations of the first process in words: ``mine BLOCK_M=64 num_warps=4``."""
    if not found.configurations:
        return None
    first = found.configurations[0]
    return "; ".join(
        f"{kernel} {' '.join(f'{name}={value}' for name, value in chosen.items())}"
        for kernel, chosen in first.items()
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        "step_seconds",
        "seconds",
        "median time of a step: forward, and backward to every input and parameter",
        at("step.median_seconds"),
        heading="step",
        asv=Tracked(rounds=3, samples=_samples("step")),
    ),
    Metric(
        "forward_seconds",
        "seconds",
        "median time of a forward that builds the graph for the backward",
        at("forward.median_seconds"),
        heading="forward",
        asv=Tracked(rounds=3, samples=_samples("forward")),
    ),
    Metric(
        "step_speedup",
        "ratio",
        "the reference's step over the variant's, median of pairs from the same round, with its "
        "95% interval; † if fewer than three processes sampled it, since the interval then leaves "
        "out how processes differ; asv stores the inverse, `step_ratio`",
        at("step.speedup.median"),
        heading="speed-up [95%]",
        text=_speedup_text,
        asv=Tracked(rounds=3, samples=_step_ratios, inverse=STEP_RATIO),
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
    *_kernel_figures(),
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
        _limit("seconds"),
    ),
    Metric(
        "bound",
        "word",
        "what determines `limit_seconds`: `arithmetic`, `bytes` or `overhead`",
        _limit("bound"),
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
        text=_limit_text,
    ),
    Metric(
        "below_limit",
        "word",
        "why the step takes less time than `limit_seconds`: the data fit `in caches`, the gradient "
        "is `sparse` or was computed with the loss in `one pass`, products may be faster in a "
        "`wider dtype`, the machine was `busy` while its ceilings were measured, a `ceiling` may "
        "be too low by a factor of 2, or `unexplained`; `no` if it does not",
        _below_limit,
    ),
    Metric(
        "error",
        "relative error",
        "largest relative error against the reference in float64, over loss, outputs, "
        "gradients and state",
        _largest_error,
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
        _verdict,
        heading="verdict",
        text=_verdict_text,
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
        _compile_process,
    ),
    Metric(
        "configuration",
        "word",
        "configuration that tuning chose for each Triton kernel of the step, in the first process",
        _configuration,
    ),
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
