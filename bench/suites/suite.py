"""Make the asv benchmarks of a Loss: a class with one function per metric."""

from collections.abc import Callable
from typing import Any

from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.metric import Metric
from lossbench.bench.metrics import TRACKED
from lossbench.bench.suites.cell import AsvCell, metric_of
from lossbench.bench.suites.parameters import ASV_CLASSES, ASV_DEVICES, ASV_DIMS, ASV_DTYPES

# Raise this when the meaning of a figure changes; asv then starts a new series.
VERSION = "1"
# The parameters that vary are last, because asv makes columns of the last ones in its tables.
PARAMETERS = ("variant", "dtype", "dim", "classes", "device", "batch")


EAGER_METRICS = tuple(metric for metric in TRACKED if metric.asv and not metric.asv.compiled)
COMPILED_METRICS = TRACKED


def make_suite(
    loss: str, variants: tuple[str, ...], batches: tuple[int, ...], *, compiled: bool
) -> type:
    """Return a class named after a Loss, with an asv benchmark for each tracked figure."""
    # Constant sizes are parameters too, because asv cannot add a parameter to a series later.
    namespace: dict[str, Any] = {
        "__doc__": f"The benchmarks of {loss}.",
        "params": (variants, ASV_DTYPES, ASV_DIMS, ASV_CLASSES, ASV_DEVICES, batches),
        "param_names": PARAMETERS,
        "version": VERSION,
        "timeout": VARIANT_SECONDS,
        "setup_cache": _share_a_folder,
    }
    for metric in COMPILED_METRICS if compiled else EAGER_METRICS:
        # Compiled variants use one process, because each process would compile the code again.
        rounds = metric.asv.rounds if metric.asv and not compiled else 1
        namespace[f"track_{metric.asv_name}"] = _tracker(loss, metric, rounds)
    return type(loss, (), namespace)


def _share_a_folder(_: object) -> None:
    """Do nothing: asv runs all benchmarks that have a ``setup_cache`` in one shared folder."""


def _tracker(loss: str, metric: Metric, rounds: int) -> Callable[..., Any]:
    def track(_: object, *parameters: Any) -> Any:
        return metric_of(AsvCell(loss, *parameters), metric.asv_name)

    track.__dict__.update(unit=metric.unit, rounds=rounds)
    return track
