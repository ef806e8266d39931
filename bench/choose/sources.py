"""Select the records that a choice rests on: those of one machine, and of no other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.frame.runs import find
from lossbench.bench.machine.environment import Environment
from lossbench.bench.run.order import is_registered, preferred
from lossbench.bench.run.records import Record, read_records
from lossbench.impls.outside import origin_of


class NotMeasured(UsageError):  # noqa: N818 - what was not measured can be
    """No record has the requested size, or sizes around it."""


class OtherMachine(UsageError):  # noqa: N818 - whose records may do
    """All records are of other machines."""


@dataclass(frozen=True)
class Host:
    """A machine with its settings; only records of equal Hosts are compared.

    Attributes:
        machine: name of the machine.
        processor: name of the CPU, or of the GPU if it computes.
        cores: number of logical processors.
        threads: number of threads that torch computes with.
        torch: version of torch.
    """

    machine: str
    processor: str
    cores: int
    threads: int
    torch: str

    @classmethod
    def of(cls, environment: Environment, device: str) -> "Host":
        """Return the Host of an environment, for computations on a device."""
        return cls(
            environment.machine,
            environment.processor(device),
            environment.cores,
            environment.threads,
            environment.torch,
        )

    def __str__(self) -> str:
        """Return the Host in words."""
        return (
            f"{self.machine} ({self.processor or 'no GPU'}, {self.cores} cores, "
            f"{self.threads} threads, torch {self.torch})"
        )


@dataclass(frozen=True)
class Pool:
    """The Records of one Loss in one dtype, on one device and kind of data, by one Host.

    Attributes:
        host: machine of the Records.
        records: Record of every cell that ``preferred`` chooses.
        history: all Records, the oldest first.
    """

    host: Host
    records: tuple[Record, ...]
    history: tuple[Record, ...]

    def of(self, variant: str) -> dict[Case, Record]:
        """Return the Records of a variant by Case."""
        return {record.case: record for record in self.records if record.variant == variant}

    @property
    def made(self) -> str:
        """The time of the newest Record."""
        return max(record.made for record in self.records)


def load_records(folders: Iterable[Path]) -> list[Record]:
    """Return the Records of runs, given by their folders or by folders of runs.

    Raises:
        UsageError: if a folder has no run, or a run cannot be read.
    """
    records = []
    for folder in folders:
        runs = list(find(folder))
        if not runs:
            raise UsageError(f"{folder}: expected a run, or a folder of runs; found none")
        records += [record for run in runs for record in read_records(run)]
    return records


def load_readable(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Return the Records of every readable run below folders, and the reasons for the others."""
    records, reasons = list[Record](), []
    for run in (run for folder in folders for run in find(folder)):
        try:
            records += read_records(run)
        except UsageError as error:
            reasons.append(str(error))
    return records, reasons


def pools_of(records: Iterable[Record], case: Case) -> list[Pool]:
    """Return the Records that differ from a Case in sizes only, by Host, the newest Host first.

    Records of a contender from outside are left out if its code has changed since.
    """
    hosts: dict[Host, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.made):
        if _kind(record.case) == _kind(case) and is_current(record):
            host = Host.of(record.environment, case.device)
            hosts.setdefault(host, []).append(record)
    pools = [
        Pool(host, tuple(preferred_of_cells(history)), tuple(history))
        for host, history in hosts.items()
    ]
    return sorted(pools, key=lambda pool: pool.made, reverse=True)


def preferred_of_cells(records: Iterable[Record]) -> Iterator[Record]:
    """Yield of the Records of one machine the one that counts of every cell."""
    cells: dict[tuple[Case, str], list[Record]] = {}
    for record in records:
        cells.setdefault(record.cell, []).append(record)
    for found in cells.values():
        yield preferred(found, lambda record: record.provenance)


def is_current(record: Record) -> bool:
    """Return whether a Record is of the registered code; code from outside may have changed."""
    loss, variant = record.case.loss, record.variant
    return not is_registered(loss, variant) or record.origin == origin_of(loss, variant)


def _kind(case: Case) -> tuple[object, ...]:
    """Return all fields of a Case except its sizes."""
    return case.loss, case.dtype, case.device, case.data, case.seed, case.autocast


def alike(pools: Sequence[Pool], here: Host, *, any_torch: bool = False) -> list[Pool]:
    """Return the pools of Hosts that equal this one, apart from the machine's name.

    Args:
        pools: pools to select from.
        here: this machine.
        any_torch: whether the version of torch may differ too.
    """
    found = [
        pool
        for pool in pools
        if replace(pool.host, machine=here.machine, torch="") == replace(here, torch="")
    ]
    return found if any_torch else [pool for pool in found if pool.host.torch == here.torch]


def _of_torch(pools: list[Pool], here: Host) -> list[Pool]:
    """Return the pools in order, those of the torch that runs first."""
    return sorted(pools, key=lambda pool: pool.host.torch != here.torch)


def choose_pools(pools: Sequence[Pool], case: Case, machine: str, here: Host) -> list[Pool]:
    """Return the pools of the named machine, or without a name of all machines like this one.

    Without records of this torch, those that such a machine made with another torch are returned.

    Raises:
        NotMeasured: if there are no pools.
        OtherMachine: if all pools are of other machines.
    """
    kind = f"{case.loss} in {case.dtype}{' autocast' * case.autocast} on {case.device}"
    if not pools:
        raise NotMeasured(f"no records of {kind} with {case.data} data; --measure makes some")
    if machine:
        chosen = _of_torch([pool for pool in pools if pool.host.machine == machine], here)
        ways = f"expected one of: {', '.join(sorted({pool.host.machine for pool in pools}))}"
    else:
        chosen = alike(pools, here) or alike(pools, here, any_torch=True)
        ways = "; ".join(
            f"--machine {pool.host.machine} uses those of {pool.host}" for pool in pools
        )
        ways += "; --measure measures here"
    if not chosen:
        whose = f"machine {machine!r}" if machine else f"this machine, {here}"
        raise OtherMachine(f"no records of {kind} from {whose}; {ways}")
    return chosen
