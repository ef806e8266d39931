"""Define a Record, the measurements of one Implementation in one Case.

A run is a folder with ``plan.json``, the settings of the run, and ``records.jsonl``, its Records.
"""

import math
from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, RootModel
from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.machine.environment import Environment
from lossbench.bench.measure.agreement import Agreement
from lossbench.bench.measure.ceilings import Ceilings, Limit, limit
from lossbench.bench.measure.compilation import Compilation, WarmCompilation
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.kernels import Configurations
from lossbench.bench.measure.memory import Memory
from lossbench.bench.measure.plausibility import explain_excess
from lossbench.bench.ranks.traffic import Traffic
from lossbench.bench.run.former import SCHEMA
from lossbench.bench.run.order import Provenance, is_registered
from lossbench.bench.timing.samples import Timing
from lossbench.impls.compiled import is_compiled
from lossbench.impls.cost import Phase
from lossbench.impls.outside import Origin
from lossbench.impls.registry import REFERENCE, implementation
from lossbench.impls.triton.usage import CompiledKernel

RECORDS = "records.jsonl"

Status = Literal[
    "passed", "refused", "departs", "unsupported", "failed", "crashed", "oom", "timeout"
]


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings", extra="forbid"))
class Record:
    """The measurements of one Implementation in one Case.

    Attributes:
        case: case of the measurement.
        variant: name of the variant of the Case's Loss.
        status: ``passed`` or ``refused`` after the comparison with the oracle; ``departs`` if the
            variant is declared not equal to the loss; ``unsupported`` if it cannot run here;
            ``failed`` if it raised an error; ``crashed`` if its worker died; ``oom`` or
            ``timeout`` if it ran out of memory or time.
        environment: machine and software of the measurement.
        reason: cause of any status except ``passed``, in one line.
        agreement: errors against the oracle, one entry per quantity.
        memory: bytes of a step.
        counters: counts of the operators of a step.
        forward: times of a forward that keeps its graph.
        step: times of forward and backward, to every input and parameter.
        compilation: cost of compiling a ``+compile`` variant.
        warm_compilation: cost of compiling in a process that finds the code in the disk cache.
        ceilings: best rates of this machine, measured in the same run.
        conformance: behaviour of the variant with degenerate inputs, which have a size of their
            own.
        kernels: counts of the kernels of a Triton variant, compiled in their default configuration
            for the GPU of the measurement, or without one for sm_90.
        configurations: configurations that tuning chose for the kernels of the timed step, one
            entry per process.
        graphed: times of a step that is replayed as a CUDA graph, in a run with ``--graphs``.
        ungraphed: reason why such a run has none of them.
        traffic: collectives of a step on one rank, in a run with ``--ranks``; the memory is then
            that of the rank with the most, and the times are those of the slowest rank.
        oracle: variant that was compared with in float64: the reference, or where that does not
            fit into memory, one that is computed in tiles.
        made: time of the measurement, ISO 8601 in UTC.
        origin: file or module from outside lossbench that registered the variant; ``None`` for
            lossbench's own.
        validated: whether the timed module checked its inputs, as it does by default; older
            records were timed without the checks.
        schema: version of this layout; ``bench.run.former`` has the history of versions.

    Raises:
        ValueError: if the Record has times without ``passed``, ``passed`` without agreement, or no
            time of its making.
    """

    case: Case
    variant: str
    status: Status
    environment: Environment
    made: str
    reason: str = ""
    agreement: tuple[Agreement, ...] = ()
    memory: Memory | None = None
    counters: Counters | None = None
    forward: Timing | None = None
    step: Timing | None = None
    compilation: Compilation | None = None
    warm_compilation: WarmCompilation | None = None
    ceilings: Ceilings | None = None
    conformance: tuple[Conformance, ...] = ()
    kernels: tuple[CompiledKernel, ...] = ()
    configurations: tuple[Configurations, ...] = ()
    graphed: Timing | None = None
    ungraphed: str = ""
    traffic: Traffic | None = None
    oracle: str = REFERENCE
    origin: Origin | None = None
    validated: bool = False
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Check that only a variant that agrees has times."""
        agreed = bool(self.agreement) and all(part.passed for part in self.agreement)
        if self.status == "passed" and not agreed:
            raise ValueError("a record that passed must have an agreement within its budget")
        if self.status != "passed" and (self.forward or self.step or self.graphed):
            raise ValueError(f"a record that is {self.status} must have no times")
        # Raises if this is no time.
        datetime.fromisoformat(self.made)

    @property
    def cell(self) -> tuple[Case, str]:
        """The Case and the variant, which identify the Record in its run."""
        return self.case, self.variant

    @property
    def provenance(self) -> Provenance:
        """The quality by which it is preferred to other Records of its cell, or they to it."""
        step = self.step
        return Provenance(
            clean=not self.environment.dirty,
            validated=self.validated,
            processes=len(step.processes) if step else 0,
            half_width=step.speedup.half_width if step and step.speedup else math.inf,
            elsewhere=step.elsewhere if step else 0.0,
            made=self.made,
        )

    @property
    def compiled(self) -> bool:
        """Whether the variant is compiled by torch.compile."""
        return is_compiled(self.variant)

    @property
    def registered(self) -> bool:
        """Whether the registry still has the Loss and the variant."""
        return is_registered(self.case.loss, self.variant)

    def limit(self, phase: Phase) -> Limit | None:
        """Return the least time of the Case, or ``None`` if it is unknown.

        It is unknown without ceilings for the Case's dtype, and if the catalogue no longer has the
        Loss and its cost.
        """
        dtype = self.case.dtype
        if self.ceilings is None or not is_registered(self.case.loss):
            return None
        if dtype not in DTYPES or dtype not in self.ceilings.flops_per_second:
            return None
        return limit(self.case, phase, self.ceilings)

    def below_limit(self, phase: Phase) -> str | None:
        """Return why the time is below the limit, a key of ``EXCESSES``; empty if it is not.

        ``None`` if there is no time or no limit.
        """
        timing = self.forward if phase == "forward" else self.step
        if timing is None or self.ceilings is None or self.limit(phase) is None:
            return None
        sparse = self.registered and implementation(self.case.loss, self.variant).sparse
        seconds = timing.median_seconds
        return explain_excess(self.case, phase, seconds, self.ceilings, sparse=sparse)

    @property
    def worst(self) -> Agreement | None:
        """The quantity that takes the largest share of its error budget."""
        return max(self.agreement, key=lambda part: part.budget_share, default=None)


class RecordLine(RootModel[Record]):
    """A Record as a line of JSON."""
