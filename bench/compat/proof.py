"""Prove one implementation on the torch that runs: contract, agreement and golden vectors.

The trials go from the smallest input to the largest and stop at the first that fails, so that a
failure names its smallest input. A size of 12 samples or more reaches the vectorised code of the
compiler, and the batch of an odd size, which every Case has, its code for any size.

A variant that several processes compute is tried by one, which is a group of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Literal

import torch
import torch.distributed as dist
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import AUTOCAST_DTYPES, DTYPES, Case
from lossbench.bench.compat.golden import GoldenVector, golden_of
from lossbench.bench.machine.compiler import start_compiler
from lossbench.bench.machine.guards import GUARD
from lossbench.bench.measure.agreement import measure_agreement, workload_of
from lossbench.impls.compiled import DEFAULT_MODE

Standing = Literal["right", "wrong", "unsupported", "departs"]

# Samples, features and classes.
SIZES = ((4, 3, 2), (12, 8, 5), (17, 16, 40), (70, 33, 7))
# Compiling takes long: a compiled variant is tried on fewer inputs, and on still fewer in quick
# trials or in a mode other than the default, which differs from it in the matrix products.
COMPILED_SIZES = SIZES[1:3]
FEW_SIZES = SIZES[2:3]
DTYPE_SIZE = SIZES[1]


@dataclass(frozen=True)
class CompatProof:
    """What was found of one implementation.

    Attributes:
        standing: ``right``: every trial passed; ``wrong``: one failed; ``unsupported``: it cannot
            run; ``departs``: it is declared not equal to the loss, and was not tried.
        reason: cause of any standing except ``right``, in one line.
        smallest: smallest input that is ``wrong``; empty for every other standing.
        trials: number of the trials that passed.
    """

    standing: Standing
    reason: str = ""
    smallest: str = ""
    trials: int = 0


def prove(loss: str, variant: str, device: str, *, quick: bool = False) -> CompatProof:
    """Try an implementation on the torch that runs; a worker calls this by name.

    Args:
        loss: name of the Loss.
        variant: name of the variant.
        device: device type to compute on.
        quick: whether a compiled variant is tried on few inputs.
    """
    implementation = impls.implementation(loss, variant)
    alone = implementation.joins_batches and not implementation.outdated()
    with group_of_one() if alone else nullcontext():
        return _proof_of(implementation, device, quick)


@contextmanager
def group_of_one() -> Iterator[None]:
    """Let this process be a whole group for the block."""
    with GUARD.own_changes():
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _proof_of(implementation: impls.Implementation, device: str, quick: bool) -> CompatProof:
    unsupported = implementation.unsupported(device, torch.float32)
    if unsupported:
        return CompatProof("unsupported", unsupported)
    if implementation.departs:
        return CompatProof("departs", implementation.departs)
    if implementation.compiled:
        start_compiler()
    passed = 0
    for trial in trials_of(implementation, device, quick=quick):
        if implementation.compiled:
            # torch limits recompilations, and those of other trials and variants would count.
            torch.compiler.reset()
        failure = _failure(trial, implementation)
        if failure:
            return CompatProof("wrong", failure, _name(trial), passed)
        passed += 1
    return CompatProof("right", trials=passed)


def trials_of(
    implementation: impls.Implementation, device: str, *, quick: bool = False
) -> Iterator[Case | GoldenVector]:
    """Yield the inputs to try an implementation on, the smallest first.

    Args:
        implementation: implementation to try.
        device: device type to compute on.
        quick: whether a compiled variant is tried on few inputs.
    """
    few = implementation.compiled and (quick or implementation.mode != DEFAULT_MODE)
    if not implementation.compiled:
        yield from _eager_cases(implementation, device)
    elif few:
        yield from (Case(implementation.loss.name, *size, device=device) for size in FEW_SIZES)
    else:
        yield from _compiled_cases(implementation, device)
    if device == "cpu" and not implementation.unsupported(device, torch.float64):
        vectors = golden_of(implementation.loss.name)
        yield from vectors[:1] if few else vectors


def _eager_cases(implementation: impls.Implementation, device: str) -> Iterator[Case]:
    loss = implementation.loss.name
    yield from (Case(loss, *size, device=device) for size in SIZES)
    case = Case(loss, *DTYPE_SIZE, device=device)
    yield replace(case, data="clustered")
    others = (replace(case, dtype=name) for name in DTYPES if name != case.dtype)
    yield from (c for c in others if not implementation.unsupported(device, c.torch_dtype))
    yield from (replace(case, dtype=name, autocast=True) for name in AUTOCAST_DTYPES)


def _compiled_cases(implementation: impls.Implementation, device: str) -> Iterator[Case]:
    loss = implementation.loss.name
    yield from (Case(loss, *size, device=device) for size in COMPILED_SIZES)
    lowered = Case(loss, *DTYPE_SIZE, dtype="bfloat16", device=device)
    if not implementation.unsupported(device, lowered.torch_dtype):
        yield lowered


def _failure(trial: Case | GoldenVector, implementation: impls.Implementation) -> str:
    try:
        if isinstance(trial, GoldenVector):
            return trial.failure(implementation)
        broken = contract_failure(trial, implementation)
        wrong = (str(part) for part in measure_agreement(trial, implementation) if not part.passed)
        return broken or "; ".join(wrong)
    except Exception as error:  # noqa: BLE001 - an implementation may raise anything
        lines = str(error).strip().splitlines() or [""]
        return f"raises {type(error).__name__}: {lines[0]}"


def contract_failure(case: Case, implementation: impls.Implementation) -> str:
    """Return how an implementation breaks the contract of outputs; an empty text if it does not.

    Agreement compares the values; that inputs stay unchanged is checked by each of its steps.
    """
    workload = workload_of(case)
    out = workload.outputs(workload.module(implementation, validate=True), workload.leaves())
    if type(out) is not implementation.loss.output:
        return f"returns {type(out).__name__}, not {implementation.loss.output.__name__}"
    names = zip(implementation.loss.outputs, out, strict=True)
    computed = tuple(name for name, value in names if value is not None)
    if computed != implementation.outputs:
        return f"computes {', '.join(computed)}, not {', '.join(implementation.outputs)}"
    expected = torch.float32 if case.autocast else case.torch_dtype
    return "" if out[0].dtype == expected else f"gives {out[0].dtype}, not {expected}"


def _name(trial: Case | GoldenVector) -> str:
    return f"golden vector {trial.name}" if isinstance(trial, GoldenVector) else str(trial)
