"""The columns of the frame, and what a row of any source starts from."""

from dataclasses import fields
from typing import Any

from lossbench.bench.case.cases import Case

CASE_COLUMNS = tuple(field.name for field in fields(Case))

# The dtype and the meaning of every column. What a source does not measure is missing there; of asv
# so are the intervals, since it keeps those of 99% alone.
COLUMNS: dict[str, tuple[str, str]] = {
    "source": ("string", "what measured it: run, asv or pytest-benchmark"),
    "run": ("string", "the folder or file that it stands in"),
    "machine": ("string", "the name of the machine"),
    "commit": ("string", "of the implementations that were measured"),
    "dirty": ("boolean", "whether the checkout differed from that in what is measured or measures"),
    "made": ("datetime64[ns, UTC]", "when"),
    "loss": ("string", "the Loss"),
    "variant": ("string", "the Implementation of it"),
    "origin": (
        "string",
        "the file or module from outside that registered it, and its hash",
    ),
    "batch": ("Int64", "B, samples"),
    "dim": ("Int64", "D"),
    "classes": ("Int64", "C"),
    "dtype": ("string", "of inputs and parameters; under autocast what it lowers to"),
    "device": ("string", "cpu or cuda"),
    "data": ("string", "kind of data"),
    "seed": ("Int64", "of inputs and initial state"),
    "autocast": ("boolean", "whether the forward ran under autocast"),
    "status": ("string", "passed, or why there are no times"),
    "reason": ("string", "of any status but passed"),
    "step_seconds": ("float64", "median of forward and backward"),
    "forward_seconds": ("float64", "median of a forward with its graph"),
    "step_speedup": ("float64", "the reference's step over this one's, median of pairs"),
    "step_speedup_low": ("float64", "lower end of its 95% interval"),
    "step_speedup_high": ("float64", "upper end of its 95% interval"),
    "forward_speedup": ("float64", "the same of the forward"),
    "forward_speedup_low": ("float64", "lower end of its 95% interval"),
    "forward_speedup_high": ("float64", "upper end of its 95% interval"),
    "verdict": ("string", "of the step: faster, slower, same, unclear; reference of itself"),
    "processes": ("Int64", "in how many the times were sampled; 1 alone keeps its own luck"),
    "step_peak_bytes": ("Int64", "the most at once above inputs and parameters in a step"),
    "forward_peak_bytes": ("Int64", "the same in a forward"),
    "saved_bytes": ("Int64", "kept from forward to backward"),
    "allocations": ("Int64", "buffers that a step takes"),
    "operators": ("Int64", "that a step dispatches"),
    "synchronisations": ("Int64", "waits for the device in a step"),
    "error": ("float64", "the largest relative error against the reference in float64"),
    "budget_share": ("float64", "the largest share of its budget that a quantity errs by"),
    "worst_quantity": ("string", "the quantity that has it"),
    "compile_seconds": ("float64", "of the first compilation, nothing in the cache"),
    "warm_compile_seconds": ("float64", "in a new process that finds the code on the disk"),
    "limit_seconds": ("float64", "the least that a step could take on this machine"),
    "bound": ("string", "what bounds that: arithmetic, bytes or overhead"),
    "threads": ("Int64", "of torch"),
    "cpu": ("string", "the processor"),
    "gpu": ("string", "the CUDA device, or empty"),
    "torch": ("string", "version"),
}


def case_row(case: Case) -> dict[str, Any]:
    """Return the columns of a Case."""
    return {name: getattr(case, name) for name in CASE_COLUMNS}
