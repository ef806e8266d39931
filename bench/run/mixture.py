"""Tell whether the Records of a run have one setting: the same code, software and machine."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lossbench.bench.errors import UsageError
from lossbench.bench.machine.environment import Environment, current_environment
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS


def software_of(environment: Environment) -> dict[str, str]:
    """Return the code and the packages of an environment, by name."""
    return {
        "commit": environment.commit[:12] + environment.uncommitted,
        "torch": environment.torch,
        "python": environment.python,
        **environment.packages,
    }


def setting_of(environment: Environment) -> dict[str, str]:
    """Return everything in an environment that must stay the same within a run, by name."""
    return {
        **software_of(environment),
        "machine": environment.machine,
        "processor": environment.cpu,
        "GPU": environment.gpu,
        "cores": str(environment.cores),
        "threads": str(environment.threads),
        **environment.variables,
    }


def mixture_of(settings: Iterable[Mapping[str, str]]) -> str:
    """Return what differs between the settings of one run, in words; empty if nothing does."""
    found = list(settings)
    values = {
        name: dict.fromkeys(setting.get(name) or "none" for setting in found)
        for name in dict.fromkeys(name for setting in found for name in setting)
    }
    differing = [f"{name} {' and '.join(seen)}" for name, seen in values.items() if len(seen) > 1]
    return f"a mixture of {', '.join(differing)}" if differing else ""


def check_unmixed(folder: Path, plan: RunPlan) -> None:
    """Refuse to resume a run in another setting than that of its last Record.

    The workers of an engine may be other machines, but the software must be the same.

    Raises:
        UsageError: if the settings differ; the message names the differences and the choices.
    """
    records = read_records(folder) if (folder / RECORDS).exists() else []
    if not records:
        return
    now = current_environment(plan.machine, plan.threads, plan.affinity)
    kept = software_of if plan.engine else setting_of
    mixture = mixture_of(map(kept, (records[-1].environment, now)))
    if mixture:
        raise UsageError(
            f"{folder} would become {mixture}; restore the former, start a new run, or go on with "
            "--mixed, which marks the results as a mixture"
        )
