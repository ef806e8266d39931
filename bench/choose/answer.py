"""Answer a Request: choose one variant, with the evidence and the changes that would matter."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.candidates import Candidate, Excluded
from lossbench.bench.choose.changes import Alternative, Change, alternatives, changes
from lossbench.bench.choose.ranking import Lead, Ranking, RunnerUp, rank
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import Host, NotMeasured, Pool
from lossbench.bench.format import binary, counted
from lossbench.bench.machine.quotas import total_memory
from lossbench.bench.stamped import KEPT
from lossbench.impls.outside import origin_of

# If the data cannot tell which variant is faster, a measurement with these settings is proposed.
PROPOSED_BUDGET, PROPOSED_PROCESSES = 10, 5
ANSWER_SCHEMA = 2


@dataclass(frozen=True)
class Source:
    """The records that an answer rests on.

    Attributes:
        host: machine of the records.
        machines: names under which it was measured.
        commits: commits of the measured implementations.
        first: time of the oldest Record, ISO 8601 in UTC.
        last: time of the newest Record, ISO 8601 in UTC.
        passed_over: number of records that better ones replace, by the reason.
    """

    host: Host
    machines: tuple[str, ...]
    commits: tuple[str, ...]
    first: str
    last: str
    passed_over: dict[str, int]


@dataclass(frozen=True, config=KEPT)
class Answer:
    """The chosen variant, with the reasons.

    Attributes:
        request: Case and constraints that were given.
        best: chosen variant, with its costs.
        alternatives: faster variants that a constraint hides, each with the constraint.
        verdict: certainty of the choice: ``clear``; ``same``, if the rival takes the same time;
            ``unclear``; or ``only one``, if no other variant is eligible.
        rival: runner-up that is most likely to be faster after all; empty without runners-up.
        regret: share of time that the wrong one of the two costs at most.
        measurement: command that would decide an ``unclear`` choice; otherwise empty, also if no
            variant fits into this machine's memory.
        runners_up: other eligible variants, the fastest first.
        excluded: variants that are not eligible.
        changes: changes to the request that would change the answer.
        code: lines of Python that use the variant; they import it first if it is from outside.
        source: records that the answer rests on.
        doubts: differences between this machine and that of the records, and a lack of memory for
            every variant, one line each.
        torch: version of torch that runs; that of the records is in ``source``.
        schema: version of this layout. 2: alternatives, fitted times; 1: times were interpolated.
    """

    request: Request
    best: Candidate
    alternatives: tuple[Alternative, ...]
    verdict: Lead
    rival: str
    regret: float
    measurement: str
    runners_up: tuple[RunnerUp, ...]
    excluded: tuple[Excluded, ...]
    changes: tuple[Change, ...]
    code: str
    source: Source
    doubts: tuple[str, ...]
    torch: str
    schema: int = ANSWER_SCHEMA

    def to_json(self) -> str:
        """Return the answer as JSON."""
        return TypeAdapter(Answer).dump_json(self, indent=1).decode()


def answer(pools: list[Pool], request: Request, here: Host | None = None) -> Answer:
    """Return the answer to a Request.

    Args:
        pools: pools to answer from, the best first.
        request: Case and constraints.
        here: this machine, to tell how it differs from that of the records.

    Raises:
        NotMeasured: if no pool has the needed records.
        UsageError: if no variant meets the constraints.
    """
    pool, ranking = first_ranking(pools, request)
    found = answer_in(pool, request, ranking, here)
    return replace(found, changes=tuple(changes(pool, request, ranking)))


def answer_in(pool: Pool, request: Request, ranking: Ranking, here: Host | None = None) -> Answer:
    """Return the answer to a Request from one pool, without ``changes``: their search takes long.

    Args:
        pool: pool to answer from.
        request: Case and constraints.
        ranking: ranking of the Request in the pool.
        here: this machine, to tell how it differs from that of the records.
    """
    rival = ranking.rival
    case, best = request.case, ranking.best
    lack = _lack_of_memory(case, ranking)
    unclear = ranking.verdict == "unclear" and not lack
    return Answer(
        request=request,
        best=best,
        alternatives=tuple(alternatives(pool, request, best)),
        verdict=ranking.verdict,
        rival=rival.candidate.variant if rival else "",
        regret=ranking.regret,
        measurement=_measurement(case, ranking) if unclear else "",
        runners_up=ranking.runners_up,
        excluded=ranking.excluded,
        changes=(),
        code=code_of(case, best.variant),
        source=_source(pool),
        doubts=(*(_doubts(pool.host, case.device, here) if here else ()), *lack),
        torch=torch.__version__,
    )


def first_ranking(pools: list[Pool], request: Request) -> tuple[Pool, Ranking]:
    """Return the first pool that answers without extrapolation, and its ranking, or else the first.

    Raises:
        NotMeasured: if no pool has a variant with times.
        UsageError: if no variant meets the constraints.
    """
    found, reason = list[tuple[Pool, Ranking]](), None
    for pool in pools:
        try:
            found.append((pool, rank(pool, request)))
        except NotMeasured as error:
            reason = reason or error
            continue
        if found[-1][1].best.basis != "extrapolated":
            return found[-1]
    if not found:
        raise reason or NotMeasured(f"no records of `{request.case.loss}`")
    return found[0]


def _source(pool: Pool) -> Source:
    made = sorted(record.made for record in pool.records)
    commits = sorted({record.environment.commit for record in pool.records})
    return Source(
        pool.host, tuple(pool.machines), tuple(commits), made[0], made[-1], pool.passed_over
    )


def _doubts(host: Host, device: str, here: Host) -> Iterator[str]:
    if device == "cuda" and not torch.cuda.is_available():
        yield "there is no CUDA device here: this is the answer for the records' machine"
    elif host.is_like(replace(here, threads=host.threads)) and host.threads != here.threads:
        there = counted(host.threads, "thread")
        yield f"measured with {there}: torch has {here.threads} here; --measure measures so"
    elif not host.is_like(here):
        yield f"of another machine: this is {here}; --measure measures here"
    elif host.torch != here.torch:
        yield (
            f"of another torch: this is torch {here.torch}, and ratios differ between releases; "
            "--measure measures on this one"
        )


def _lack_of_memory(case: Case, ranking: Ranking) -> tuple[str, ...]:
    """Return a line that says so if no eligible variant fits into this machine's memory."""
    candidates = [ranking.best, *(runner.candidate for runner in ranking.runners_up)]
    least = min(candidates, key=lambda each: each.step_peak_bytes)
    there = total_memory(case.device)
    if there is None or least.step_peak_bytes <= there:
        return ()
    needed = binary(float(f"{least.step_peak_bytes:.2g}"))
    return (
        f"too large for this machine: {least.variant}, the smallest, takes about {needed} beside "
        f"its inputs; there are {binary(there)}",
    )


def _measurement(case: Case, ranking: Ranking) -> str:
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
        "dtype": [case.dtype] * (case.dtype != "float32"),
        "data": [case.data] * (case.data != "gaussian"),
        "device": [case.device],
        "budget": [PROPOSED_BUDGET],
        "processes": [PROPOSED_PROCESSES],
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
