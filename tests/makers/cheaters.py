"""Give the reason for which a contender is refused, without the processes of a whole run."""

from lossbench import impls
from lossbench.bench.machine.guards import StateChanged
from lossbench.bench.measure.agreement import measure_agreement, workload_of
from lossbench.bench.measure.trial import sample_modules
from lossbench.bench.selftest.contender import around_reference
from lossbench.bench.timing.sampling import Sampling
from lossbench.impls.registry import REFERENCE


def cheater(loss, cheat):
    """Return an implementation of a loss that is the reference with a cheat."""
    return impls.Implementation(impls.loss(loss), "cheater", around_reference(loss, cheat))


def reason_to_refuse(case, implementation):
    """Return the reason for which it is not timed; empty if it agrees with the reference."""
    try:
        agreement = measure_agreement(case, implementation)
    except (RuntimeError, TypeError, ValueError, StateChanged) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "; ".join(str(part) for part in agreement if not part.passed)


def reason_when_timed(case, implementation, **options):
    """Return the reason to refuse it when it is timed; empty if there is none."""
    workload = workload_of(case)
    entries = {REFERENCE: impls.implementation(case.loss, REFERENCE), "timed": implementation}
    modules = {name: workload.module(entry) for name, entry in entries.items()}
    try:
        sampled = sample_modules(workload, modules, Sampling(budget_seconds=0.1), **options)
    except (RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return sampled.refusals.get("timed", "")
