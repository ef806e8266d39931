"""Count what the kernels of a Triton variant take of a chip, which may not be here.

The kernels of one step are compiled ahead of time, in the configuration that they have by default.
The counts are the same at every run of a build, so the gate needs no GPU.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload, trainable

if TYPE_CHECKING:
    from lossbench.impls.triton.usage import CompiledKernel

# The chip to compile for where there is none.
CAPABILITY = 90
# A kernel's code depends on whether sizes are multiples of 16 or 1, and not on how large they are.
MOST_ROWS, MOST_CLASSES, ALIGNMENT = 256, 4096, 16
ROOM = ".impls.triton."

Configurations = Mapping[str, Mapping[str, Any]]
"""The arguments of Triton's configurations, by the name and the key of the kernel."""


def has_kernels(implementation: impls.Implementation) -> bool:
    """Return whether an implementation is a Triton variant of lossbench's own, not compiled."""
    return ROOM in implementation.builder.__module__ and not implementation.compiled


def measure_kernels(
    case: Case, implementation: impls.Implementation, capability: int | None = None
) -> tuple["CompiledKernel", ...]:
    """Return what the compiler makes of each kernel of a step; empty for other variants.

    It is empty too without Triton, and if the implementation's tree has no such compilation.

    Args:
        case: case of the step; its largest sizes are cut down, since nothing is run.
        implementation: implementation of this tree or of another.
        capability: compute capability of the chip; by default that of the GPU here, or else 90.
    """
    found = _modules(implementation)
    if found is None:
        return ()
    # Older commits have no such module.
    from lossbench.impls.triton.usage import CompiledKernel

    launching, ahead = found
    with launching.recorded() as launches:
        _step(cut_down(case), implementation)
    chip = max(c for c in ahead.SHARED_BYTES if c <= (capability or _capability_here()))
    # A kernel of every block of classes is launched several times, with the same code.
    distinct = {specialization(launch): launch for launch in launches}
    by_name = dict[str, list[dict[str, Any]]]()
    for launch in distinct.values():
        made = asdict(ahead.compile_ahead(launch, chip))
        by_name.setdefault(made["name"], []).append(made)
    return tuple(CompiledKernel(**_largest(codes)) for codes in by_name.values())


def specialization(launch: Any) -> tuple[object, ...]:
    """Return what a kernel's code depends on: launches that share it share the code."""
    constants = {each.name for each in launch.kernel.params if each.is_constexpr}
    return launch.kernel.__name__, *(
        value if name in constants else _kind(value) for name, value in launch.arguments.items()
    )


def _kind(value: Any) -> object:
    if isinstance(value, Tensor):
        return value.dtype
    if isinstance(value, int):
        return value == 1, value % ALIGNMENT == 0, abs(value) >= 2**31
    return type(value)


def _largest(codes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one kernel's codes: the largest of each, the text of the first."""
    return {
        name: max(code[name] for code in codes) if isinstance(first, int) else first
        for name, first in codes[0].items()
    }


def chosen_configurations(
    implementation: impls.Implementation, step: Callable[[], object]
) -> Configurations:
    """Return the configurations that tuning has chosen for the kernels of a step; it is run once.

    Args:
        implementation: implementation of the step; others than Triton's have none.
        step: step, on the device.
    """
    found = _modules(implementation)
    if found is None:
        return {}
    chosen: Configurations = found[0].configurations_of(step)
    return chosen


def _modules(implementation: impls.Implementation) -> tuple[ModuleType, ModuleType] | None:
    """Return the modules that record launches and compile them, of the implementation's tree."""
    if not has_kernels(implementation):
        return None
    package = implementation.builder.__module__.partition(ROOM)[0]
    names = (f"{package}{ROOM}kernels.{name}" for name in ("launching", "ahead"))
    try:
        launching, ahead = map(importlib.import_module, names)
    except ModuleNotFoundError:
        return None
    return launching, ahead


def cut_down(case: Case) -> Case:
    """Return a Case of a smaller batch and fewer classes on the CPU, with the same kernels."""
    batch, classes = _alike(case.batch, MOST_ROWS), _alike(case.classes, MOST_CLASSES)
    return replace(case, batch=batch, classes=classes, device="cpu")


def _alike(size: int, most: int) -> int:
    """Return a size of at most ``most`` that leaves the same remainder by the alignment."""
    return size if size <= most else most - -size % ALIGNMENT


def _step(case: Case, implementation: impls.Implementation) -> None:
    workload = Workload.of(case, draws=1)
    module, leaves = workload.module(implementation, validate=False), workload.leaves()
    out = workload.outputs(module, leaves)
    workload.gradients(out, list(trainable(module, leaves).values()))


def _capability_here() -> int:
    if not torch.cuda.is_available():
        return CAPABILITY
    major, minor = torch.cuda.get_device_capability()
    return max(10 * major + minor, 80)
