"""Make a plan and comparisons of two trees for the tests of the gate."""

from lossbench.bench.case.cases import Case
from lossbench.bench.gate.compare import Seen
from lossbench.bench.gate.findings import findings_of
from lossbench.bench.gate.plan import GatePlan
from lossbench.bench.gate.report import GateComparison
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.memory import Memory
from lossbench.bench.timing.samples import Samples, Timing

CASE = Case("contrastive", 16, 8, 5)
PLAN = GatePlan(margin=0.05, budget_seconds=0.4, threads=1, device="cpu")
PASSED = Seen("passed", "", Memory(5000, 8000, 6000, 9), Counters(20, 0))


def timing(factor, processes=1, noise=(0.999, 1.001)):
    """Return times that are a factor of the base's one second, in several processes."""
    samples = tuple(factor * x for x in noise * 20)
    return Timing(tuple(Samples(samples, (1.0,) * len(samples), 1) for _ in range(processes)))


def comparison(head=PASSED, base=PASSED, **confirmed):
    return GateComparison(CASE, "fused", base, head, {}, confirmed)


def found(compared):
    return [(f.kind, f.quantity) for f in findings_of(compared, margin=0.05)]
