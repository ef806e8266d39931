"""The answer to a Request: one variant, the evidence, and what would change it."""

import shlex
from collections.abc import Sequence

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.candidates import Candidate, Excluded
from lossbench.bench.choose.changes import Change, changes
from lossbench.bench.choose.ranking import Lead, Ranking, RunnerUp, rank
from lossbench.bench.choose.request import Request, outputs_of
from lossbench.bench.choose.sources import Host, NotMeasured, Pool
from lossbench.bench.stamped import KEPT
from lossbench.impls.outside import origin_of

# Of the measurement that is proposed where the data cannot tell.
PROPOSED_BUDGET, PROPOSED_PROCESSES = 10, 5
ANSWER_SCHEMA = 1


@dataclass(frozen=True)
class Source:
    """What an answer rests on.

    Attributes:
        host: the machine.
        commits: of the implementations that were measured.
        first: when the oldest Record was made, ISO 8601 in UTC.
        last: when the newest was.
    """

    host: Host
    commits: tuple[str, ...]
    first: str
    last: str


@dataclass(frozen=True, config=KEPT)
class Answer:
    """One variant, and why.

    Attributes:
        request: what was asked.
        best: the variant, and what it costs.
        verdict: how sure that is: ``clear``; the ``same`` time as the rival; ``unclear``; or the
            ``only one`` that is eligible.
        rival: the runner-up that may be the best after all, if any.
        measurement: where it is unclear, the command that would tell.
        runners_up: the other eligible variants, the fastest first.
        excluded: the others.
        changes: what would change the answer.
        code: that uses the variant, three lines; one more imports a contender from outside.
        source: what it rests on.
        interpolated: whether it rests on other sizes than the one that is asked for.
        schema: the version of this layout. 1: the first.
    """

    request: Request
    best: Candidate
    verdict: Lead
    rival: str
    measurement: str
    runners_up: tuple[RunnerUp, ...]
    excluded: tuple[Excluded, ...]
    changes: tuple[Change, ...]
    code: str
    source: Source
    interpolated: bool
    schema: int = ANSWER_SCHEMA

    def to_json(self) -> str:
        """Return it as JSON."""
        return TypeAdapter(Answer).dump_json(self, indent=1).decode()


def answer(pools: list[Pool], request: Request) -> Answer:
    """Return the answer that pools give.

    Raises:
        NotMeasured: where none of them tells.
        UsageError: where no variant meets the constraints.
    """
    return _answer(*first_ranking(pools, request), request)


def first_ranking(pools: list[Pool], request: Request) -> tuple[Pool, Ranking]:
    """Return the ranking by the first pool that has the very size, or else sizes around it.

    Raises:
        NotMeasured: where none has.
        UsageError: where no variant meets the constraints.
    """
    exact = [pool for pool in pools if request.case in {record.case for record in pool.records}]
    unmeasured = None
    for pool in [*exact, *(pool for pool in pools if pool not in exact)]:
        try:
            return pool, rank(pool, request)
        except NotMeasured as error:
            unmeasured = unmeasured or error
    raise unmeasured or NotMeasured(f"no records of `{request.case.loss}`")


def _answer(pool: Pool, ranking: Ranking, request: Request) -> Answer:
    rival = ranking.rival
    unclear = rival is not None and ranking.verdict == "unclear"
    return Answer(
        request=request,
        best=ranking.best,
        verdict=ranking.verdict,
        rival=rival.candidate.variant if rival else "",
        measurement=_measurement(pool.host, request.case, ranking) if unclear else "",
        runners_up=ranking.runners_up,
        excluded=ranking.excluded,
        changes=tuple(changes(pool, request, ranking)),
        code=code_of(request.case, ranking.best.variant),
        source=_source(pool.host, ranking),
        interpolated=ranking.best.interpolated,
    )


def _source(host: Host, ranking: Ranking) -> Source:
    candidates = [ranking.best, *(runner.candidate for runner in ranking.runners_up)]
    records = [each.record for candidate in candidates for each in candidate.neighbours]
    made = sorted(record.made for record in records)
    commits = sorted({record.environment.commit for record in records})
    return Source(host, tuple(commits), made[0], made[-1])


def _measurement(host: Host, case: Case, ranking: Ranking) -> str:
    """Return the command that would tell the best from its rivals."""
    rivals = [r.candidate.variant for r in ranking.runners_up if r.ratio.low <= 1]
    variants = [ranking.best.variant, *rivals]
    origins = {origin_of(case.loss, variant): None for variant in variants}
    options: dict[str, Sequence[str | int]] = {
        "with": [origin.source for origin in origins if origin],
        "loss": [case.loss],
        "variant": variants,
        "batch": [case.batch],
        "dim": [case.dim],
        "classes": [case.classes],
        "dtype": [case.dtype],
        "data": [case.data],
        "device": [case.device],
        "budget": [PROPOSED_BUDGET],
        "processes": [PROPOSED_PROCESSES],
        "machine": [host.machine],
    }
    words = [f"--{name}={value}" for name, values in options.items() for value in values]
    flags = ["--autocast"] if case.autocast else []
    return shlex.join(["lossbench", "run", *words, *flags])


def code_of(case: Case, variant: str) -> str:
    """Return the lines that use a variant at the size and in the dtype of a Case."""
    loss = impls.loss(case.loss)
    dtype = "" if case.dtype == "float32" or case.autocast else f", dtype=torch.{case.dtype}"
    arguments = "".join(f", {name}={value}" for name, value in case.arguments.items())
    inputs = ", ".join(f"{name}={name}" for name in loss.input_names)
    output = outputs_of(case.loss)[0]
    device = f'device="{case.device}"'
    lines = [
        "import torch, lossbench" if dtype or case.autocast else "import lossbench",
        f'module = lossbench.build("{loss.name}", "{variant}", {device}{dtype}{arguments})',
        f"{output} = module({inputs}).{output}",
    ]
    if case.autocast:
        lines[2] = f'with torch.autocast("{case.device}", torch.{case.dtype}): {lines[2]}'
    origin = origin_of(case.loss, variant)
    if origin is not None:
        source = origin.source
        by_path = f"lossbench.register_from({source!r})"
        lines.insert(1, by_path if origin.is_file else f"import {source}")
    return "\n".join(lines)
