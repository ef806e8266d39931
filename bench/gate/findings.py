"""Find the differences between two trees in one cell, and those that fail the gate."""

from collections.abc import Iterator, Mapping

from lossbench.bench.format import spread
from lossbench.bench.gate.compare import Seen
from lossbench.bench.gate.report import Finding, FindingKind, GateComparison, slowdown
from lossbench.bench.metrics import gated
from lossbench.bench.timing.intervals import Interval
from lossbench.bench.timing.samples import Timing

# Bytes are exact, but a few more elements in a buffer do no harm, and CUDA's caching allocator
# rounds every buffer up to a multiple of 512.
BYTES_MARGIN, LEAST_BYTES = 0.01, 512
# The statuses that only broken code gives; the others may have other causes on the machine.
BROKEN = ("refused", "failed")
LOST = ("crashed", "oom", "timeout")


def findings_of(comparison: GateComparison, margin: float) -> Iterator[Finding]:
    """Yield the differences in one cell.

    Args:
        comparison: comparison of the cell.
        margin: largest accepted slowdown, as a share.
    """
    base, head = comparison.base, comparison.head
    # Kernels are counted where they cannot run, too.
    if base.kernels and head.kernels and base.status == head.status != "passed":
        yield from _counts(comparison)
    if base.status == head.status == "passed":
        yield from _bytes(comparison)
        yield from _counts(comparison)
        for phase, timing in comparison.confirmed.items():
            yield from _times(comparison, phase, timing, margin)
        if comparison.lost:
            yield _finding(comparison, "lost", "times", comparison.lost)
    elif (base.status, base.reason) != (head.status, head.reason) or head.status in LOST:
        yield _status(comparison)


def _status(comparison: GateComparison) -> Finding:
    base, head = comparison.base, comparison.head
    kind: FindingKind = "note"
    if head.status in LOST:
        kind = "lost"
    elif head.status in BROKEN and (base.status == "passed" or base.kernels):
        kind = "regression"
    text = f"{_standing(base)} in the base, {_standing(head)} in the head"
    return _finding(comparison, kind, "agreement", text)


def _standing(seen: Seen) -> str:
    return f"{seen.status}{seen.reason and f' ({seen.reason})'}"


def _bytes(comparison: GateComparison) -> Iterator[Finding]:
    for metric in gated("bytes"):
        before, after = metric.of(comparison.base), metric.of(comparison.head)
        if before is None or after is None:
            continue
        if abs(after - before) <= max(LEAST_BYTES, BYTES_MARGIN * before):
            continue
        factor = after / before if before else None
        change = f" ({factor - 1:+.1%})" if factor else ""
        text = f"{metric.words(before)} to {metric.words(after)}{change}"
        kind: FindingKind = "regression" if after > before else "improvement"
        yield _finding(comparison, kind, metric.name, text, factor=factor)


def _counts(comparison: GateComparison) -> Iterator[Finding]:
    for metric in gated("waits", "note"):
        before, after = metric.of(comparison.base), metric.of(comparison.head)
        if before == after or before is None or after is None:
            continue
        kind: FindingKind = "note"
        if metric.gated == "waits":
            # Times on the CPU do not show a wait, and on a GPU a wait may outlast the loss.
            kind = "regression" if after > before else "improvement"
        yield _finding(comparison, kind, metric.name, f"{before} to {after}")


def _times(
    comparison: GateComparison, phase: str, timing: Timing, margin: float
) -> Iterator[Finding]:
    interval, processes = slowdown(timing), len(timing.processes)
    if 1 / (1 + margin) <= interval.median <= 1 + margin:
        return
    kind: FindingKind = "note"
    if interval.low > 1 + margin:
        kind = "regression"
    elif interval.high < 1 / (1 + margin):
        kind = "improvement"
    doubt = "perhaps " * (kind == "note")
    text = f"{doubt}{spread(interval)} the base's time, in {processes} fresh processes"
    yield _finding(
        comparison,
        kind,
        phase,
        text,
        factor=interval.median,
        interval=interval,
        processes=processes,
    )


def _finding(
    comparison: GateComparison,
    kind: FindingKind,
    quantity: str,
    text: str,
    factor: float | None = None,
    interval: Interval | None = None,
    processes: int = 0,
) -> Finding:
    case, variant = comparison.case, comparison.variant
    return Finding(kind, case.loss, variant, case, quantity, text, factor, interval, processes)


def coverage_findings(
    base: Mapping[str, tuple[str, ...]], head: Mapping[str, tuple[str, ...]]
) -> Iterator[Finding]:
    """Yield the losses and variants that only one of the trees has."""
    for loss in dict.fromkeys([*base, *head]):
        for word, here, there in (("new", head, base), ("vanished", base, head)):
            if loss not in here:
                continue
            if loss not in there:
                yield Finding("note", loss, "", None, "loss", word)
            elif only := [variant for variant in here[loss] if variant not in there[loss]]:
                yield Finding("note", loss, ", ".join(only), None, "variant", word)
