"""What the tests of the gate share: a plan, and comparisons of two trees made in code."""

from bench.cases import Case
from bench.counters import Counters
from bench.gate.compare import Seen
from bench.gate.findings import findings_of
from bench.gate.plan import Plan
from bench.gate.report import Comparison
from bench.memory import Memory
from bench.timing import Samples, Timing

CASE = Case("contrastive", 16, 8, 5)
PLAN = Plan(margin=0.05, budget_seconds=0.4, threads=1, device="cpu")
PASSED = Seen("passed", "", Memory(5000, 8000, 6000, 9), Counters(20, 0))


def timing(factor, processes=1, noise=(0.999, 1.001)):
    """Times that are a factor of the base's one second, in several processes."""
    samples = tuple(factor * x for x in noise * 20)
    return Timing(tuple(Samples(samples, (1.0,) * len(samples), 1) for _ in range(processes)))


def comparison(head=PASSED, base=PASSED, **confirmed):
    return Comparison(CASE, "fused", base, head, {}, confirmed)


def found(compared):
    return [(f.kind, f.quantity) for f in findings_of(compared, margin=0.05)]
