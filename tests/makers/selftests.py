"""Reports of the self-test, with given numbers of failures."""

from lossbench.bench.case.cases import Case
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.selftest.buffers import Count
from lossbench.bench.selftest.coverage import Coverage
from lossbench.bench.selftest.gates import Alarm
from lossbench.bench.selftest.mixed import Bystander, Tried
from lossbench.bench.selftest.report import SelfTestReport
from lossbench.bench.selftest.trials import PairTrial
from tests.makers.comparisons import timing

CASE = Case("center_mse", 16, 8, 5)


def trial(effect, verdict="same", loaded=False, seconds=3.0):
    speedup = timing(1 + effect).speedup
    return PairTrial(CASE, effect, loaded, 0, verdict, speedup, 40, seconds, 0.0)


def tried(found="refused", reason="out.loss is off", **changes):
    expected = {"expected": "refused", "pattern": r"out\.loss", "speedup": None, **changes}
    return Tried("zeros", "wrong results", "arcface", "", found=found, reason=reason, **expected)


def bystanders(apart=0):
    told = ["step: 2x instead of 1x"] * apart + [""] * (20 - apart)
    return tuple(Bystander("arcface", f"honest {i}", "", each) for i, each in enumerate(told))


def report(
    false_alarms=0, missed=0, trials=60, seconds=3.0, loaded_alarms=0, loaded_missed=0, **found
):
    def arm(effect, right, wrong, count, **how):
        return [trial(effect, wrong if i < count else right, **how) for i in range(trials)]

    made = {
        "environment": current_environment("here"),
        "made": "",
        "budget_seconds": 2.0,
        "processes": 1,
        "trials": (
            *arm(0.0, "same", "faster", false_alarms),
            *arm(0.1, "slower", "unclear", missed, seconds=seconds),
            *arm(0.0, "unclear", "slower", loaded_alarms, loaded=True),
            *arm(0.1, "slower", "unclear", loaded_missed, loaded=True),
        ),
        "alarms": (
            Alarm("asv continuous -f 1.1", CASE, 0.0, True, 1.2, 12.0),
            Alarm("asv continuous -f 1.1", CASE, 0.1, False, 1.1, 12.0),
        ),
        "contenders": (tried(),),
        "bystanders": bystanders(apart=1),
        "counts": (Count("1 B held", 1, 1),),
        "coverage": (Coverage("normal", 20, 1, 95, 100, 0.01, promised=True),),
    }
    return SelfTestReport(**{**made, **found})
