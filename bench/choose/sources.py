"""Select the records that a choice rests on: those of one host, the best of each cell."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import le
from pathlib import Path

from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.models import VariantModel, models_of, nearness_of, place_in
from lossbench.bench.errors import UsageError
from lossbench.bench.format import counted
from lossbench.bench.frame.runs import find
from lossbench.bench.machine.environment import Environment
from lossbench.bench.run.order import is_registered, preferred
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import Record
from lossbench.impls.outside import origin_of


class NotMeasured(UsageError):  # noqa: N818 - what was not measured can be
    """No record can answer the request."""


@dataclass(frozen=True)
class Host:
    """A machine with its settings, under whatever name; records of equal Hosts are one evidence.

    Attributes:
        processor: name of the CPU, or of the GPU if it computes.
        cores: number of logical processors.
        threads: number of threads that torch computes with.
        torch: version of torch.
    """

    processor: str
    cores: int
    threads: int
    torch: str

    @classmethod
    def of(cls, environment: Environment, device: str) -> "Host":
        """Return the Host of an environment, for computations on a device."""
        processor = environment.processor(device)
        return cls(processor, environment.cores, environment.threads, environment.torch)

    def is_like(self, other: "Host") -> bool:
        """Return whether two Hosts are equal but for the version of torch."""
        mine, others = ((host.processor, host.cores, host.threads) for host in (self, other))
        return mine == others

    def __str__(self) -> str:
        """Return the Host in words."""
        size = f"{counted(self.cores, 'core')}, {counted(self.threads, 'thread')}"
        return f"{self.processor or 'no GPU'}, {size}, torch {self.torch}"


@dataclass(frozen=True)
class Pool:
    """The Records of one Loss in one dtype, on one device and kind of data, by one Host.

    Attributes:
        host: machine of the Records.
        records: Record of every cell that ``preferred`` chooses.
        passed_over: number of other Records of these cells, by the reason why they do not count.
    """

    host: Host
    records: tuple[Record, ...]
    passed_over: dict[str, int]

    @cached_property
    def models(self) -> dict[str, VariantModel]:
        """The model of each variant with times."""
        return models_of(self.records)

    @cached_property
    def by_variant(self) -> dict[str, list[Record]]:
        """The Records of each variant."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.variant, []).append(record)
        return found

    def lost(self, variant: str, case: Case) -> Record | None:
        """Return the Record without times that rules a variant out in a Case, if there is one.

        It is the Record of this size, the one of the nearest size, or one of a size that is no
        larger on any axis.
        """
        records = self.by_variant.get(variant, [])
        if all(record.step for record in records):
            return None
        exact = [record for record in records if record.case == case]
        nearest = max(exact or records, key=lambda each: nearness_of(each, case), default=None)
        if exact or nearest is None or nearest.step is None:
            return nearest if nearest and nearest.step is None else None
        place = place_in(case)
        smaller = (r for r in records if all(map(le, place_in(r.case), place)))
        return next((record for record in smaller if record.step is None), None)

    @property
    def machines(self) -> list[str]:
        """The names under which the Host was measured."""
        return sorted({record.environment.machine for record in self.records})

    @property
    def made(self) -> str:
        """The time of the newest Record."""
        return max(record.made for record in self.records)

    def __str__(self) -> str:
        """Return the names and the Host in words."""
        return f"{', '.join(self.machines)} ({self.host})"


def load_records(folders: Iterable[Path], loss: str = "") -> list[Record]:
    """Return the Records of runs, given by their folders or by folders of runs.

    Args:
        folders: folders of runs, or folders that contain some.
        loss: name of the only Loss to read; empty for all.

    Raises:
        UsageError: if a folder has no run, or a run cannot be read.
    """
    records = []
    for folder in folders:
        runs = list(find(folder))
        if not runs:
            raise UsageError(f"{folder}: expected a run, or a folder of runs; found none")
        records += [record for run in runs for record in read_records(run, loss)]
    return records


def load_readable(folders: Iterable[Path], loss: str = "") -> tuple[list[Record], list[str]]:
    """Return the Records of every readable run below folders, and the reasons for the others.

    Args:
        folders: folders to search for runs.
        loss: name of the only Loss to read; empty for all.
    """
    records, reasons = list[Record](), []
    for run in (run for folder in folders for run in find(folder)):
        try:
            records += read_records(run, loss)
        except UsageError as error:
            reasons.append(str(error))
    return records, reasons


def pools_of(records: Iterable[Record], case: Case) -> list[Pool]:
    """Return the Records that differ from a Case in sizes only, by Host, the newest Host first.

    Records of a contender from outside are left out if its code has changed since.
    """
    hosts: dict[Host, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.made):
        if kind_of(record.case) == kind_of(case) and is_current(record):
            host = Host.of(record.environment, case.device)
            hosts.setdefault(host, []).append(record)
    pools = [Pool(host, *best_of_cells(found)) for host, found in hosts.items()]
    return sorted(pools, key=lambda pool: pool.made, reverse=True)


def best_of_cells(records: Iterable[Record]) -> tuple[tuple[Record, ...], dict[str, int]]:
    """Return the Record that counts of every cell of one Host, and the reasons of the others."""
    cells: dict[tuple[Case, str], list[Record]] = {}
    for record in records:
        cells.setdefault(record.cell, []).append(record)
    best, reasons = list[Record](), Counter[str]()
    for found in cells.values():
        # The intervals that the quality needs take time, so a single record is not asked.
        kept = preferred(found, lambda each: each.provenance) if len(found) > 1 else found[0]
        best.append(kept)
        reasons.update(r.provenance.weaker_than(kept.provenance) for r in found if r is not kept)
    return tuple(best), dict(reasons)


def is_current(record: Record) -> bool:
    """Return whether a Record is of the registered code; code from outside may have changed."""
    loss, variant = record.case.loss, record.variant
    return not is_registered(loss, variant) or record.origin == origin_of(loss, variant)


def kind_of(case: Case) -> tuple[object, ...]:
    """Return all fields of a Case except its sizes."""
    return case.loss, case.dtype, case.device, case.data, case.seed, case.autocast, case.ranks


def choose_pools(pools: Sequence[Pool], case: Case, machine: str, here: Host) -> list[Pool]:
    """Return the pools to answer from, the best first: of this Host, of its like, of others.

    Args:
        pools: pools of the Case, the newest first.
        case: Case to answer for.
        machine: name of the machine to use records of; empty for any.
        here: this machine.

    Raises:
        NotMeasured: if there are no pools, or none of the named machine.
    """
    kind = f"{case.loss} in {case.precision} on {case.device}"
    if not pools:
        raise NotMeasured(f"no records of {kind} with {case.data} data; --measure makes some")
    chosen = [pool for pool in pools if not machine or machine in pool.machines]
    if not chosen:
        there = sorted({name for pool in pools for name in pool.machines})
        raise NotMeasured(
            f"no records of {kind} from machine {machine!r}; expected one of: {', '.join(there)}"
        )
    return sorted(chosen, key=lambda pool: (not pool.host.is_like(here), pool.host != here))
