"""The figures of the kernels of a Triton variant."""

from collections.abc import Callable, Iterable
from typing import Any

from lossbench.bench.metric import Metric


def _of_kernels(name: str, combine: Callable[[Iterable[int]], int]) -> Callable[[Any], int | None]:
    """Return the function that combines a count of all kernels of a Record."""

    def read(found: Any) -> int | None:
        return combine(getattr(each, name) for each in found.kernels) if found.kernels else None

    return read


def _configuration(found: Any) -> str | None:
    """Return the configurations of the first process in words: ``mine BLOCK_M=64 num_warps=4``."""
    if not found.configurations:
        return None
    first = found.configurations[0]
    return "; ".join(
        f"{kernel} {' '.join(f'{name}={value}' for name, value in chosen.items())}"
        for kernel, chosen in first.items()
    )


KERNEL_METRICS = (
    Metric(
        "kernel_registers",
        "count",
        "most registers of a thread among the Triton kernels of a step, as compiled by default",
        _of_kernels("registers", max),
        gated="note",
    ),
    Metric(
        "kernel_spilled_bytes",
        "bytes",
        "bytes of a thread that these kernels keep in memory for want of registers, all together",
        _of_kernels("stack_bytes", sum),
        gated="waits",
    ),
    Metric(
        "kernel_shared_bytes",
        "bytes",
        "most shared memory of a program among these kernels",
        _of_kernels("shared_bytes", max),
        gated="note",
    ),
    Metric(
        "matrix_instructions",
        "count",
        "instructions in the code of these kernels that multiply matrices, all together",
        _of_kernels("matrix_instructions", sum),
        gated="note",
    ),
)
"""The counts of the kernels that a step has, as compiled by default; they need no GPU."""

CONFIGURATION = Metric(
    "configuration",
    "word",
    "configuration that tuning chose for each Triton kernel of the step, in the first process",
    _configuration,
)
