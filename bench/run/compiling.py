"""Measure the cost of compiling a variant in two fresh processes: without and with cached code."""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, TypeVar

from lossbench.bench.case.cases import Case
from lossbench.bench.machine.scratch import ScratchFolder
from lossbench.bench.machine.worker import Worker
from lossbench.bench.measure.compilation import (
    Compilation,
    WarmCompilation,
    measure_compilation,
    measure_warm_compilation,
)

T = TypeVar("T")


class CompileCosts(TypedDict):
    """The costs of compiling a variant, by the names of the Record's fields."""

    compilation: Compilation
    warm_compilation: WarmCompilation


def measure_compile_costs(
    start_worker: Callable[[Path], Worker], timeout_seconds: float, case: Case, variant: str
) -> CompileCosts:
    """Return the costs of compiling a variant: cold, and then from the cache that this filled.

    Args:
        start_worker: function that returns a new worker, given the folder of its compiled code.
        timeout_seconds: time without an answer after which the variant is given up.
        case: Case to compile for.
        variant: name of a ``+compile`` variant.

    Raises:
        Lost: if one of the workers gives no answer.
    """
    code = ScratchFolder()

    def ask(question: Callable[[Case, str], T]) -> T:
        worker = start_worker(code.path)
        try:
            return worker.ask(timeout_seconds, question, case, variant)
        finally:
            worker.close()

    try:
        return CompileCosts(
            compilation=ask(measure_compilation), warm_compilation=ask(measure_warm_compilation)
        )
    finally:
        code.remove()
