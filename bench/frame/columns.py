"""The columns of the frame, and what a row of any source starts from."""

from dataclasses import fields
from typing import Any

from lossbench.bench.case.cases import Case
from lossbench.bench.metrics import METRICS

CASE_COLUMNS = tuple(field.name for field in fields(Case))

# Where a row comes from, and what was measured.
SUBJECT: dict[str, tuple[str, str]] = {
    "source": ("string", "the tool that measured: run, asv or pytest-benchmark"),
    "run": ("string", "the folder or file that the row was read from"),
    "machine": ("string", "the name of the machine"),
    "commit": ("string", "the commit of the implementations that were measured"),
    "dirty": ("boolean", "whether the checkout had changes beyond the commit"),
    "made": ("datetime64[ns, UTC]", "the time of the measurement"),
    "loss": ("string", "the Loss"),
    "variant": ("string", "the Implementation of the Loss"),
    "origin": ("string", "the file or package from outside that registered it, and its hash"),
    "batch": ("Int64", "B, samples"),
    "dim": ("Int64", "D"),
    "classes": ("Int64", "C"),
    "dtype": ("string", "the dtype of inputs and parameters; under autocast the lower one"),
    "device": ("string", "cpu or cuda"),
    "data": ("string", "the kind of data"),
    "seed": ("Int64", "the seed of inputs and initial state"),
    "autocast": ("boolean", "whether the forward ran under autocast"),
    "status": ("string", "passed, or why there are no times"),
    "reason": ("string", "the reason for any status but passed"),
}
ENVIRONMENT: dict[str, tuple[str, str]] = {
    "threads": ("Int64", "torch's threads"),
    "cpu": ("string", "the processor"),
    "gpu": ("string", "the CUDA device, or empty"),
    "torch": ("string", "torch's version"),
}
FIGURES = {metric.name: (metric.dtype, metric.meaning) for metric in METRICS}

COLUMNS: dict[str, tuple[str, str]] = {**SUBJECT, **FIGURES, **ENVIRONMENT}
"""The dtype and the meaning of every column. What a source does not measure is missing there."""


def case_row(case: Case) -> dict[str, Any]:
    """Return the columns of a Case."""
    return {name: getattr(case, name) for name in CASE_COLUMNS}
