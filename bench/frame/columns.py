"""The columns of the frame, with their dtypes and meanings."""

from dataclasses import fields
from typing import Any

from lossbench.bench.case.cases import Case
from lossbench.bench.metrics import METRICS

CASE_COLUMNS = tuple(field.name for field in fields(Case))

# The source of a row, and the measured variant and Case.
SUBJECT: dict[str, tuple[str, str]] = {
    "source": ("string", "the tool that measured: run, asv or pytest-benchmark"),
    "run": ("string", "the folder or file that the row was read from"),
    "machine": ("string", "the name of the machine"),
    "commit": ("string", "the commit of the measured implementations"),
    "dirty": ("boolean", "whether the checkout had uncommitted changes"),
    "validated": (
        "boolean",
        "whether the timed module checked its inputs",
    ),
    "elsewhere": ("float64", "the processors that other processes kept busy while it was timed"),
    "made": ("datetime64[ns, UTC]", "the time of the measurement"),
    "loss": ("string", "the Loss"),
    "variant": ("string", "the Implementation of the Loss"),
    "origin": ("string", "the outside file or package of the variant, and its hash"),
    "batch": ("Int64", "batch size B"),
    "dim": ("Int64", "embedding dimension D"),
    "classes": ("Int64", "number of classes C"),
    "dtype": ("string", "the dtype of inputs and parameters; under autocast, of the forward"),
    "device": ("string", "cpu or cuda"),
    "data": ("string", "the kind of data"),
    "seed": ("Int64", "the seed of inputs and initial state"),
    "autocast": ("boolean", "whether the forward ran under autocast"),
    "ranks": ("Int64", "the number of processes that shared the batch, or 1"),
    "status": ("string", "`passed`, or the kind of reason why there are no times"),
    "reason": ("string", "the reason for any status except `passed`"),
}
ENVIRONMENT: dict[str, tuple[str, str]] = {
    "threads": ("Int64", "torch's threads"),
    "cpu": ("string", "the processor"),
    "gpu": ("string", "the CUDA device, or empty"),
    "hardware": ("string", "the computing processor, the cores and the threads, as one text"),
    "torch": ("string", "torch's version"),
}
FIGURES = {metric.name: (metric.dtype, metric.meaning) for metric in METRICS}

COLUMNS: dict[str, tuple[str, str]] = {**SUBJECT, **FIGURES, **ENVIRONMENT}
"""The dtype and the meaning of every column; what a source does not measure is missing."""


def case_row(case: Case) -> dict[str, Any]:
    """Return the columns of a Case."""
    return {name: getattr(case, name) for name in CASE_COLUMNS}
