"""The rows of the board: what ``choose`` recommends for each loss, size and machine."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lossbench.bench.board.sources import BoardRecords
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.candidates import Candidate
from lossbench.bench.choose.changes import Alternative, alternatives
from lossbench.bench.choose.ranking import Ranking, rank
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import Host, Pool, kind_of, pools_of
from lossbench.bench.errors import UsageError
from lossbench.bench.run.order import is_registered, place_of_case
from lossbench.bench.run.records import Record


@dataclass(frozen=True)
class BoardRow:
    """The recommended variant of a Case on one machine.

    Attributes:
        case: case of the row.
        pool: Records of the machine that ``choose`` answers from.
        ranking: ranking of the variants.
        others: faster variants that a flag of ``choose`` admits.
        record: Record of the recommended variant.
    """

    case: Case
    pool: Pool
    ranking: Ranking
    others: tuple[Alternative, ...]
    record: Record

    @property
    def best(self) -> Candidate:
        """The recommended variant, with its costs."""
        return self.ranking.best


@dataclass(frozen=True)
class Standings:
    """Everything that the board shows.

    Attributes:
        sources: Records, and who measured them.
        pools: Records by Loss, dtype, device, data and machine, the best of each cell.
        rows: rows in the order of the catalogue; those of one Case stand together.
        unranked: number of measured sizes for which no variant is eligible.
    """

    sources: BoardRecords
    pools: tuple[Pool, ...]
    rows: tuple[BoardRow, ...]
    unranked: int

    @property
    def losses(self) -> list[str]:
        """The names of the losses with a row, in order."""
        return list(dict.fromkeys(row.case.loss for row in self.rows))

    @cached_property
    def hosts(self) -> dict[Host, list[Pool]]:
        """The machines, each with its pools, in the order of their names."""
        found: dict[Host, list[Pool]] = {}
        for pool in sorted(self.pools, key=str):
            found.setdefault(pool.host, []).append(pool)
        return found

    @cached_property
    def labels(self) -> dict[Host, str]:
        """The label of each machine: its names, and its settings if others have these names."""
        names = {
            host: ", ".join(sorted({name for pool in pools for name in pool.machines}))
            for host, pools in self.hosts.items()
        }
        several = Counter(names.values())
        return {
            host: f"{name}, {host.threads} threads, torch {host.torch}"
            if several[name] > 1
            else name
            for host, name in names.items()
        }


def standings_of(sources: BoardRecords) -> Standings:
    """Return what the board shows of some Records.

    Those of losses that are gone, and of losses that several ranks computed, are left out.
    """
    kinds: dict[tuple[object, ...], list[Record]] = {}
    for record in sources.records:
        if is_registered(record.case.loss) and record.case.ranks == 1:
            kinds.setdefault(kind_of(record.case), []).append(record)
    pools = tuple(pool for found in kinds.values() for pool in pools_of(found, found[0].case))
    rows, unranked = list[BoardRow](), 0
    for pool in pools:
        found = list(_rows_of(pool))
        rows += found
        unranked += len(_cases(pool)) - len(found)
    rows.sort(key=lambda row: (place_of_case(row.case), str(row.pool)))
    return Standings(sources, pools, tuple(rows), unranked)


def _rows_of(pool: Pool) -> Iterator[BoardRow]:
    for case in _cases(pool):
        try:
            ranking = rank(pool, Request(case))
        except UsageError:
            # Nothing that the default request admits has times at this size.
            continue
        model = ranking.best.model
        if model is not None and case in model.records:
            others = tuple(alternatives(pool, Request(case), ranking.best))
            yield BoardRow(case, pool, ranking, others, model.records[case])


def _cases(pool: Pool) -> Sequence[Case]:
    return list(dict.fromkeys(record.case for record in pool.records))
