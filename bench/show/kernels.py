"""What the compiler makes of every Triton kernel, without a GPU: one row per kernel and dtype."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from rich.table import Table
from rich.text import Text

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.format import words_table
from lossbench.bench.measure.kernels import has_kernels, measure_kernels
from lossbench.impls.triton.usage import CompiledKernel

# A kernel's code depends on which sizes are multiples of 16: here all of them are, or none.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "even": {"batch": 256, "dim": 512, "classes": 1024},
    "odd": {"batch": 250, "dim": 500, "classes": 1001},
}
# The columns of the tables of kernels, and the attributes that they show.
KERNEL_FIGURES = {
    "registers": "registers",
    "spilled B": "stack_bytes",
    "shared B": "shared_bytes",
    "matrix instructions": "matrix_instructions",
}

KernelRow = Mapping[str, Any]
"""The figures of a kernel by name; ``losses`` has the names of the losses that launch it."""


def kernel_rows(losses: Iterable[str], dtypes: Iterable[str], chip: int) -> Iterator[KernelRow]:
    """Yield a row per kernel and dtype: the largest figures over the losses and kinds of sizes.

    Args:
        losses: names of the losses.
        dtypes: names of the dtypes of inputs and parameters.
        chip: compute capability to compile for, 90 for sm_90.
    """
    names = list(losses)
    for dtype in dtypes:
        found: dict[str, list[tuple[str, CompiledKernel]]] = {}
        for loss, sizes in product(names, KINDS.values()):
            for kernel in _kernels(Case(loss, **sizes, dtype=dtype), chip):
                found.setdefault(kernel.name, []).append((loss, kernel))
        yield from (_row(dtype, compiled) for compiled in found.values())


def _kernels(case: Case, chip: int) -> Iterator[CompiledKernel]:
    for implementation in impls.implementations(case.loss):
        if has_kernels(implementation):
            yield from measure_kernels(case, implementation, chip)


def _row(dtype: str, compiled: list[tuple[str, "CompiledKernel"]]) -> KernelRow:
    kernels = [kernel for _, kernel in compiled]
    first = kernels[0]
    return {
        "kernel": first.name,
        "dtype": dtype,
        "chip": f"sm_{first.capability}",
        "configuration": first.configuration,
        **{name: max(getattr(k, name) for k in kernels) for name in KERNEL_FIGURES.values()},
        "losses": " ".join(dict.fromkeys(loss for loss, _ in compiled)),
    }


def kernels_table(rows: Iterable[KernelRow]) -> Table:
    """Return the table of rows; the names of many losses wrap."""
    table = words_table("kernel", "dtype", "chip", "configuration", *KERNEL_FIGURES, "losses")
    for row in rows:
        figures = (f"{row[name]:,}" for name in KERNEL_FIGURES.values())
        texts = (row["kernel"], row["dtype"], row["chip"], row["configuration"], *figures)
        table.add_row(*map(Text, texts), Text(row["losses"]))
    return table
