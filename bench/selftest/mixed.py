"""Measure contenders by the command `run`, as a user would, and compare a run without bad ones."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path

import psutil
from pydantic.dataclasses import dataclass

from lossbench.bench.compare.comparison import MARGIN
from lossbench.bench.paths import import_path
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS, Record
from lossbench.bench.selftest.contender import Contender
from lossbench.bench.selftest.contenders import own_variants, public_cheat
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.samples import Timing

FILE = """
from lossbench.bench.selftest.contenders import enter

enter({cells!r}, {device!r})
"""
SIZE = ("--batch", "16", "--dim", "8", "--classes", "5")
# Every contender is the reference and more, so none is much faster, unless it cheats.
MOST_SPEEDUP = 1.25
MEMORY = "2GiB"
MOST_PRINTED_BYTES = 10 * 2**20
NO_RECORD = "no record"
# The environment variable that all processes of a run inherit.
MARK = "LOSSBENCH_SELFTEST_RUN"
PHASES = ("forward", "step")
# Far above the minutes that a run takes, so that only a run that hangs is ended.
RUN_SECONDS = 7200.0


@dataclass(frozen=True, config=KEPT)
class Tried:
    """The outcome of a contender.

    Attributes:
        name: name of the contender.
        kind: kind of contender.
        loss: loss that it pretends to compute.
        public: publicly known cheat that it tries; empty for none.
        expected: status that its Record must have.
        pattern: regular expression that the reason must match.
        found: status of its Record, or ``no record``.
        reason: reason in its Record.
        speedup: lower end of the interval of its speed-up, if it was timed.
    """

    name: str
    kind: str
    loss: str
    public: str
    expected: str
    pattern: str
    found: str
    reason: str
    speedup: float | None = None

    @property
    def right(self) -> bool:
        """Whether the status and the reason are as expected, and it gains nothing by cheating."""
        gained = self.speedup is not None and self.speedup > MOST_SPEEDUP
        told = re.search(self.pattern, self.reason) is not None
        return self.found == self.expected and told and not gained


@dataclass(frozen=True, config=KEPT)
class Bystander:
    """An honest variant beside bad contenders.

    Attributes:
        loss: its loss.
        variant: its name.
        difference: difference from a run without the bad ones, in words; empty if none.
        times: difference of its times alone, in words; empty if none.
    """

    loss: str
    variant: str
    difference: str = ""
    times: str = ""


@plain_dataclass(frozen=True)
class MixedPlan:
    """The settings of the runs with contenders.

    Attributes:
        entered: contenders to measure.
        device: ``cpu`` or ``cuda``.
        threads: number of threads that torch computes with.
        processes: number of processes that sample.
        budget_seconds: sampling time of each phase of each loss, over all processes.
        timeout_seconds: time after which a contender that hangs is given up.
        variants: lossbench's own variants to measure beside the contenders.
    """

    entered: tuple[Contender, ...]
    device: str
    threads: int
    processes: int = 3
    budget_seconds: float = 6.0
    timeout_seconds: float = 120.0
    variants: tuple[str, ...] = field(default_factory=own_variants)


def measure_contenders(
    plan: MixedPlan, tell: Callable[[str], None]
) -> tuple[tuple[Tried, ...], tuple[Bystander, ...]]:
    """Return what became of every contender, and how its honest bystanders fared."""
    good = tuple(each for each in plan.entered if each.kind == "honest")
    tell(f"{len(plan.entered)} contenders in one run")
    mixed = _run(plan, plan.entered)
    tell("the honest ones of them in another run")
    alone = _run(plan, good)
    return (
        tuple(_tried(each, mixed.records) for each in plan.entered),
        tuple(_bystanders(alone, mixed)),
    )


@plain_dataclass(frozen=True)
class _Run:
    """A finished run.

    Attributes:
        records: its Records by loss and variant.
        faults: faults of the run as a whole.
    """

    records: Mapping[tuple[str, str], Record]
    faults: tuple[str, ...]


def _run(plan: MixedPlan, entered: Sequence[Contender]) -> _Run:
    """Measure contenders beside lossbench's own variants, by the command and in its processes."""
    with tempfile.TemporaryDirectory(prefix="lossbench-") as name:
        folder = Path(name)
        file = folder / "contenders.py"
        cells = [each.cell for each in entered]
        file.write_text(FILE.format(cells=cells, device=plan.device))
        arguments = [*_arguments(plan, entered), "--out", str(folder / "run")]
        arguments += ["--with", str(file)] if entered else []
        faults = tuple(_execute(arguments, folder / "printed"))
        records = read_records(folder / "run") if (folder / "run" / RECORDS).exists() else []
    return _Run({(each.case.loss, each.variant): each for each in records}, faults)


def _arguments(plan: MixedPlan, entered: Iterable[Contender]) -> Iterator[str]:
    yield from SIZE
    for loss in dict.fromkeys(each.loss for each in plan.entered):
        yield f"--loss={loss}"
    for variant in dict.fromkeys((*plan.variants, *(each.variant for each in entered))):
        yield f"--variant={variant}"
    yield from ("--device", plan.device, "--threads", str(plan.threads))
    yield from ("--processes", str(plan.processes), "--budget", str(plan.budget_seconds))
    yield from ("--timeout", str(plan.timeout_seconds), "--memory", MEMORY)


def _execute(arguments: Iterable[str], printed: Path) -> Iterator[str]:
    """Run the command, and yield what is wrong with it as a whole."""
    environment = {**os.environ, "PYTHONPATH": import_path(), MARK: str(printed)}
    command = [sys.executable, "-m", "lossbench", "run", *arguments]
    with printed.open("wb") as file:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                timeout=RUN_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            yield f"the run did not end within {RUN_SECONDS:.0f} s"
        else:
            if done.returncode:
                last = printed.read_bytes()[-200:].decode(errors="backslashreplace")
                yield f"the run ended with exit code {done.returncode}: {' '.join(last.split())}"
    if printed.stat().st_size > MOST_PRINTED_BYTES:
        yield f"the run printed {printed.stat().st_size} bytes"
    if left := sum(_has_mark(process, printed) for process in psutil.process_iter(["environ"])):
        yield f"{left} processes outlived the run"


def _has_mark(process: psutil.Process, printed: Path) -> bool:
    """Return whether a process is one of a run, which has the file of its output as its mark."""
    return (process.info["environ"] or {}).get(MARK) == str(printed)


def _tried(contender: Contender, records: Mapping[tuple[str, str], Record]) -> Tried:
    record = records.get(contender.cell)
    speedup = record.step.speedup if record and record.step else None
    return Tried(
        name=contender.name,
        kind=contender.kind,
        loss=contender.loss,
        public=public_cheat(contender.name),
        expected=contender.expected,
        pattern=contender.reason,
        found=record.status if record else NO_RECORD,
        reason=record.reason if record else "",
        speedup=speedup.low if speedup else None,
    )


def _bystanders(alone: _Run, mixed: _Run) -> Iterator[Bystander]:
    for name, run in (("all of the run", mixed), ("all of the other run", alone)):
        yield Bystander("", name, "; ".join(run.faults))
    for (loss, variant), record in alone.records.items():
        beside = mixed.records.get((loss, variant))
        if beside is None:
            yield Bystander(loss, variant, NO_RECORD)
        else:
            difference = _difference(record, beside)
            yield Bystander(loss, variant, difference, _times_apart(record, beside))


def _difference(alone: Record, beside: Record) -> str:
    """Return what differs between two Records of one honest variant, apart from their times."""
    if alone.status != "passed":
        return f"{alone.status} even without them: {alone.reason}"
    if alone.status != beside.status:
        return f"{beside.status} instead of {alone.status}: {beside.reason}"
    for name in ("agreement", "memory", "counters"):
        if getattr(alone, name) != getattr(beside, name):
            return f"other figures of {name}"
    missing = [p for p in PHASES if (getattr(alone, p) is None) != (getattr(beside, p) is None)]
    return "; ".join(f"no {phase} times on one side" for phase in missing)


def _times_apart(alone: Record, beside: Record) -> str:
    """Return how far the times of two Records are apart, or nothing."""
    phases = ((phase, getattr(alone, phase), getattr(beside, phase)) for phase in PHASES)
    return "; ".join(filter(None, (_apart(*phase) for phase in phases)))


def _apart(phase: str, alone: Timing | None, beside: Timing | None) -> str:
    """Return how far two speed-ups are apart, or nothing, by the rule of `lossbench compare`."""
    one, other = (timing.speedup if timing else None for timing in (alone, beside))
    if one is None or other is None:
        return ""
    overlapping = one.low <= other.high and other.low <= one.high
    ratio = other.median / one.median
    if overlapping or 1 / (1 + MARGIN) <= ratio <= 1 + MARGIN:
        return ""
    return f"{phase}: {other.median:.3g}x instead of {one.median:.3g}x"
