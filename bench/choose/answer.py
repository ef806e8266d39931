"""Answer a Request: choose one variant, with the evidence and the changes that would matter."""

import shlex
from collections.abc import Sequence

import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.candidates import Candidate, Excluded
from lossbench.bench.choose.changes import Change, changes
from lossbench.bench.choose.ranking import Lead, Ranking, RunnerUp, rank
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import Host, NotMeasured, Pool
from lossbench.bench.stamped import KEPT
from lossbench.impls.outside import origin_of

# If the data cannot tell which variant is faster, a measurement with these settings is proposed.
PROPOSED_BUDGET, PROPOSED_PROCESSES = 10, 5
ANSWER_SCHEMA = 1


@dataclass(frozen=True)
class Source:
    """The records that an answer rests on.

    Attributes:
        host: machine of the records.
        commits: commits of the measured implementations.
        first: time of the oldest Record, ISO 8601 in UTC.
        last: time of the newest Record, ISO 8601 in UTC.
    """

    host: Host
    commits: tuple[str, ...]
    first: str
    last: str


@dataclass(frozen=True, config=KEPT)
class Answer:
    """The chosen variant, with the reasons.

    Attributes:
        request: Case and constraints that were given.
        best: chosen variant, with its costs.
        verdict: certainty of the choice: ``clear``; ``same``, if the rival takes the same time;
            ``unclear``; or ``only one``, if no other variant is eligible.
        rival: runner-up that is most likely to be faster after all; empty without runners-up.
        measurement: command that would decide an ``unclear`` choice; otherwise empty.
        runners_up: other eligible variants, the fastest first.
        excluded: variants that are not eligible.
        changes: changes to the request that would change the answer.
        code: lines of Python that use the variant; they import it first if it is from outside.
        source: records that the answer rests on.
        interpolated: whether the answer rests on other sizes than the requested one.
        torch: version of torch that runs; that of the records is in ``source``.
        schema: version of this layout. 1: the first.
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
    torch: str
    schema: int = ANSWER_SCHEMA

    def to_json(self) -> str:
        """Return the answer as JSON."""
        return TypeAdapter(Answer).dump_json(self, indent=1).decode()


def answer(pools: list[Pool], request: Request) -> Answer:
    """Return the answer to a Request from the first pool that has the needed records.

    Raises:
        NotMeasured: if no pool has the needed records.
        UsageError: if no variant meets the constraints.
    """
    return _answer(*first_ranking(pools, request), request)


def first_ranking(pools: list[Pool], request: Request) -> tuple[Pool, Ranking]:
    """Return the first pool that has the requested size, or else sizes around it, and its ranking.

    Raises:
        NotMeasured: if no pool has either.
        UsageError: if no variant meets the constraints.
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
        torch=torch.__version__,
    )


def _source(host: Host, ranking: Ranking) -> Source:
    candidates = [ranking.best, *(runner.candidate for runner in ranking.runners_up)]
    records = [each.record for candidate in candidates for each in candidate.neighbours]
    made = sorted(record.made for record in records)
    commits = sorted({record.environment.commit for record in records})
    return Source(host, tuple(commits), made[0], made[-1])


def _measurement(host: Host, case: Case, ranking: Ranking) -> str:
    """Return the command that would decide between the best variant and its rivals."""
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
    output = impls.loss(case.loss).outputs[0]
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
