"""The answers of a report: what ``choose`` recommends at every measured size, from all its runs.

Records of several runs are merged by the rules of ``choose``: those of one machine are one
evidence, and the best of each cell counts. The page gets texts that ``choose`` would print.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.answer import Answer, answer_in
from lossbench.bench.choose.candidates import Candidate
from lossbench.bench.choose.ranking import rank
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import (
    Host,
    NotMeasured,
    Pool,
    choose_pools,
    kind_of,
    pools_of,
)
from lossbench.bench.choose.text import (
    alternative_line,
    grounds,
    left_out,
    memory_text,
    other_cells,
    reasons,
    sign_of,
    step_text,
    sureness,
)
from lossbench.bench.errors import UsageError
from lossbench.bench.format import factor
from lossbench.bench.run.order import is_registered, place_of_case
from lossbench.bench.run.records import Record
from lossbench.impls.registry import REFERENCE

Size = tuple[int, int, int]
"""Batch, dim and classes."""
MOST_ANSWERS = 600
"""The most answers of a page: each takes about 30 ms to find and 2 KiB of the page."""


@dataclass(frozen=True)
class Setting:
    """The answers of one Loss in one dtype, on one device and kind of data, by one machine.

    Attributes:
        pool: merged records of the machine.
        answers: answer at each measured size, in the order of the sizes.
        untold: number of measured sizes that are left out, because there are too many.
    """

    pool: Pool
    answers: tuple[Answer, ...]
    untold: int

    @property
    def case(self) -> Case:
        """The Case of the first answer."""
        return self.answers[0].request.case


def settings_of(
    records: Iterable[Record], here: Host | None = None, size: Size | None = None
) -> list[Setting]:
    """Return the answers of records, in the order of the catalogue.

    Args:
        records: records of any runs.
        here: this machine, to put its records before those of others; else the newest are first.
        size: the only size to answer for; ``None`` for every measured one.
    """
    kinds: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        if is_answering(record):
            kinds.setdefault(kind_of(record.case), []).append(record)
    found = sorted(kinds.values(), key=lambda group: _kind_place(group[0].case))
    pools = [pool for group in found for pool in _pools(group, here)]
    most = max(1, MOST_ANSWERS // max(1, len(pools)))
    settings = (_setting(pool, most, size) for pool in pools)
    return [setting for setting in settings if setting.answers]


def is_answering(record: Record) -> bool:
    """Return whether ``choose`` answers from a record: seed 0, one rank, a loss that exists."""
    usual = record.case.seed == 0 and record.case.ranks == 1
    return usual and is_registered(record.case.loss)


def _kind_place(case: Case) -> tuple[Any, ...]:
    # The sort key of a Case has its sizes last.
    return place_of_case(case)[:-4]


def _pools(records: Sequence[Record], here: Host | None) -> list[Pool]:
    case = records[0].case
    pools = pools_of(records, case)
    return choose_pools(pools, case, "", here) if pools and here else pools


def _setting(pool: Pool, most: int, size: Size | None) -> Setting:
    timed: dict[Case, int] = {}
    for record in pool.records:
        case = record.case
        if record.step is not None and size in (None, (case.batch, case.dim, case.classes)):
            timed[case] = timed.get(case, 0) + 1
    # Of too many sizes those with most variants are kept.
    cases = sorted(timed, key=lambda case: (-timed[case], place_of_case(case)))[:most]
    found = (_answer(pool, Request(case)) for case in sorted(cases, key=place_of_case))
    return Setting(pool, tuple(each for each in found if each), len(timed) - len(cases))


def _answer(pool: Pool, request: Request) -> Answer | None:
    try:
        return answer_in(pool, request, rank(pool, request))
    except (NotMeasured, UsageError):
        # Every variant with times there is excluded, for example as not proven on this torch.
        return None


def answer_texts(answer: Answer) -> dict[str, Any]:
    """Return the texts of an answer for the page, by their place."""
    case = answer.request.case
    return {
        "size": [case.batch, case.dim, case.classes],
        "use": answer.best.variant + sign_of(answer.best),
        "figures": list(_figures(answer)),
        "sure": sureness(answer),
        "measure": answer.measurement,
        "also": [alternative_line(each) for each in answer.alternatives],
        "code": answer.code,
        "why": list(reasons(answer)),
        "others": [other_cells(answer, runner) for runner in answer.runners_up],
        "out": list(left_out(answer)),
        "grounds": list(grounds(answer)),
    }


def _figures(answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield the three figures of the chosen variant, each with what it is compared with."""
    best, reference = answer.best, reference_of(answer)
    alone = best.variant == REFERENCE or reference is None
    gain = factor(best.speedup.median) if best.speedup and not alone else ""
    yield (
        f"{gain}× as fast" if gain else step_text(best),
        f"{step_text(best)} a step; the reference takes {step_text(reference)}"
        if gain and reference
        else "a step, forward and backward",
    )
    more = "" if alone or reference is None else f"; the reference takes {memory_text(reference)}"
    yield memory_text(best), f"peak memory{more}"
    own = "" if alone or reference is None else f"; the reference's own is {reference.error:.0e}"
    yield f"{best.error:.0e}", f"largest relative error against float64{own}"


def reference_of(answer: Answer) -> Candidate | None:
    """Return the reference with its costs; ``None`` if it was not timed."""
    everyone = [answer.best, *(runner.candidate for runner in answer.runners_up)]
    return next((each for each in everyone if each.variant == REFERENCE), None)
