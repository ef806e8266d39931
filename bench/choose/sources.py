"""Where the figures of a choice come from: the records of one machine, and of no other."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.frame.runs import find
from lossbench.bench.machine.environment import Environment
from lossbench.bench.run.order import is_registered
from lossbench.bench.run.records import Record, read_records
from lossbench.impls.outside import origin_of


class NotMeasured(UsageError):  # noqa: N818 - what was not measured can be
    """There is no record that tells."""


class OtherMachine(UsageError):  # noqa: N818 - whose records may do
    """There are records of other machines alone."""


@dataclass(frozen=True)
class Host:
    """What records must have in common to be compared.

    Attributes:
        machine: its name.
        processor: the CPU, or the GPU where that computes.
        cores: logical processors.
        threads: of torch.
        torch: its version.
    """

    machine: str
    processor: str
    cores: int
    threads: int
    torch: str

    @classmethod
    def of(cls, environment: Environment, device: str) -> "Host":
        """Return the Host of an environment, for what computes on a device."""
        processor = environment.gpu if device == "cuda" else environment.cpu
        return cls(
            environment.machine,
            processor,
            environment.cores,
            environment.threads,
            environment.torch,
        )

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.machine} ({self.processor or 'no GPU'}, {self.cores} cores, "
            f"{self.threads} threads, torch {self.torch})"
        )


@dataclass(frozen=True)
class Pool:
    """The Records of one Loss in one dtype, on one device and kind of data, by one Host.

    Attributes:
        host: the machine.
        records: the newest of every cell.
        history: all, the oldest first.
    """

    host: Host
    records: tuple[Record, ...]
    history: tuple[Record, ...]

    def of(self, variant: str) -> dict[Case, Record]:
        """Return the Records of a variant by Case."""
        return {record.case: record for record in self.records if record.variant == variant}

    @property
    def made(self) -> str:
        """When the newest was made."""
        return max(record.made for record in self.records)


def load_records(folders: Iterable[Path]) -> list[Record]:
    """Return the Records of runs, or of folders that hold some.

    Raises:
        UsageError: where a folder holds none, or some cannot be read.
    """
    records = []
    for folder in folders:
        runs = list(find(folder))
        if not runs:
            raise UsageError(
                f"{folder}: expected a run, or a folder that holds some; there is none"
            )
        records += [record for run in runs for record in read_records(run)]
    return records


def load_readable(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Return the Records of every run below folders that can be read, and why others cannot."""
    records, reasons = list[Record](), []
    for run in (run for folder in folders for run in find(folder)):
        try:
            records += read_records(run)
        except UsageError as error:
            reasons.append(str(error))
    return records, reasons


def pools_of(records: Iterable[Record], case: Case) -> list[Pool]:
    """Return the Records that differ from a Case in sizes only, by Host, the newest Host first.

    Those of a contender from outside whose code is not what is registered now are left out.
    """
    hosts: dict[Host, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.made):
        if _kind(record.case) == _kind(case) and is_current(record):
            host = Host.of(record.environment, case.device)
            hosts.setdefault(host, []).append(record)
    pools = [
        Pool(host, tuple({record.cell: record for record in history}.values()), tuple(history))
        for host, history in hosts.items()
    ]
    return sorted(pools, key=lambda pool: pool.made, reverse=True)


def is_current(record: Record) -> bool:
    """Return whether a Record is not of other code from outside than what is registered now."""
    loss, variant = record.case.loss, record.variant
    return not is_registered(loss, variant) or record.origin == origin_of(loss, variant)


def _kind(case: Case) -> tuple[object, ...]:
    """Return all of a Case but its sizes."""
    return case.loss, case.dtype, case.device, case.data, case.seed, case.autocast


def alike(pools: Sequence[Pool], here: Host) -> list[Pool]:
    """Return the pools of Hosts that differ from one in their names at most."""
    return [pool for pool in pools if replace(pool.host, machine=here.machine) == here]


def choose_pools(pools: Sequence[Pool], case: Case, machine: str, here: Host) -> list[Pool]:
    """Return the pools of the machine that is named, or of those that are like this one.

    Raises:
        NotMeasured: where there are none at all.
        OtherMachine: where there are only others.
    """
    kind = f"{case.loss} in {case.dtype}{' autocast' * case.autocast} on {case.device}"
    if not pools:
        raise NotMeasured(f"no records of {kind} with {case.data} data; --measure makes some")
    if machine:
        chosen = [pool for pool in pools if pool.host.machine == machine]
        ways = f"expected one of: {', '.join(sorted({pool.host.machine for pool in pools}))}"
    else:
        chosen = alike(pools, here)
        ways = "; ".join(
            f"--machine {pool.host.machine} takes those of {pool.host}" for pool in pools
        )
        ways += "; --measure measures here"
    if not chosen:
        whose = f"the machine {machine!r}" if machine else f"this machine, {here}"
        raise OtherMachine(f"no records of {kind} by {whose}; {ways}")
    return chosen
