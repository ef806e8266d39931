"""What makes asv's benchmarks of a Loss's name: a class with a function a metric."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.suites.cell import AsvCell, metric_of
from lossbench.bench.suites.parameters import ASV_CLASSES, ASV_DEVICES, ASV_DIMS, ASV_DTYPES

# To be raised when a figure comes to mean something else; asv then starts its series anew.
VERSION = "1"
# Those that vary come last: asv folds them into the columns of its tables.
PARAMETERS = ("variant", "dtype", "dim", "classes", "device", "batch")


@dataclass(frozen=True)
class Metric:
    """One figure of a cell.

    Attributes:
        name: of what ``metric_of`` returns.
        unit: as asv shows it.
        rounds: in how many processes it is measured; ``asv run --quick`` takes one.
    """

    name: str
    unit: str
    rounds: int = 1


# Times differ between processes, bytes and errors do not.
METRICS = (
    Metric("step_seconds", "seconds", rounds=3),
    Metric("forward_seconds", "seconds", rounds=3),
    Metric("step_ratio", "ratio", rounds=3),
    Metric("peak_bytes", "bytes"),
    Metric("saved_bytes", "bytes"),
    Metric("error", "relative error"),
)
# All in one process, as the code would have to be compiled anew in each.
COMPILED_METRICS = (
    Metric("compile_seconds", "seconds"),
    *(Metric(metric.name, metric.unit) for metric in METRICS),
)


def make_suite(
    loss: str, variants: tuple[str, ...], batches: tuple[int, ...], metrics: tuple[Metric, ...]
) -> type:
    """Return a class of a Loss's name, in which asv finds a benchmark a metric."""
    # Sizes that are the same throughout are parameters too: an axis cannot be added later on.
    namespace: dict[str, Any] = {
        "__doc__": f"The benchmarks of {loss}.",
        "params": (variants, ASV_DTYPES, ASV_DIMS, ASV_CLASSES, ASV_DEVICES, batches),
        "param_names": PARAMETERS,
        "version": VERSION,
        "timeout": VARIANT_SECONDS,
        "setup_cache": _share_a_folder,
    }
    for metric in metrics:
        namespace[f"track_{metric.name}"] = _tracker(loss, metric)
    return type(loss, (), namespace)


def _share_a_folder(_: object) -> None:
    """Do nothing: asv runs all benchmarks that have a ``setup_cache`` in one folder of its own."""


def _tracker(loss: str, metric: Metric) -> Callable[..., Any]:
    def track(_: object, *parameters: Any) -> Any:
        return metric_of(AsvCell(loss, *parameters), metric.name)

    track.__dict__.update(unit=metric.unit, rounds=metric.rounds)
    return track
