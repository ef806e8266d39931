"""Test what implementations do with degenerate inputs, compared with the reference.

Each degenerate input goes to the reference and to the implementation, in the same dtype, and to the
reference in float64. An implementation is ``worse`` if it has no finite value and the reference has
one, or if its error is above the budget of an ordinary input. It is ``better`` if it has a finite
value and the reference has none, or if its error is so small that the reference's error is above
``FACTOR`` times it plus the rounding band. Otherwise it is the ``same``. One order of summation can
be exact by luck, so the reference's error comes from two orders. If neither has a finite loss, the
step is useless, and the gradients are not compared. An input with NaN must give NaN, since a finite
value would hide it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.case.workload import Workload, mirrored
from lossbench.bench.measure.agreement import FACTOR, quantities, rounding_band
from lossbench.bench.measure.degenerate import BATCH, CLASSES, DEGENERATE, DIM, NAN
from lossbench.bench.measure.deviation import relative_error
from lossbench.impls.registry import REFERENCE

Grade = Literal["same", "better", "worse"]
# The quantities of a step by name, or the error that it raised.
Result = Mapping[str, Tensor] | str


@dataclass(frozen=True)
class Conformance:
    """The behaviour of an implementation and of the reference with one degenerate input.

    Attributes:
        input: name of the input in ``DEGENERATE``.
        reference: result of the reference: ``finite``, the quantities that are not finite, or the
            error that it raised.
        given: result of the implementation, in the same words.
        grade: grade of the implementation, compared with the reference.
        reason: quantities or behaviour that caused the grade; empty for ``same``.
    """

    input: str
    reference: str
    given: str
    grade: Grade
    reason: str = ""


@cache
def measure_conformance(loss: str, variant: str, device: str) -> tuple[Conformance, ...]:
    """Return the behaviour of an implementation with every degenerate input of a supported dtype.

    An implementation that is declared not equal to the loss gets no grades.
    """
    implementation = impls.implementation(loss, variant)
    if implementation.departs:
        return ()
    return tuple(
        _conformance(name, Case(loss, BATCH, DIM, CLASSES, degenerate.dtype, device), variant)
        for name, degenerate in DEGENERATE.items()
        if implementation.unsupported(device, DTYPES[degenerate.dtype]) is None
    )


def _conformance(name: str, case: Case, variant: str) -> Conformance:
    exact, reference, turned = _truth(name, case)
    if impls.implementation(case.loss, variant).compiled:
        # Each input has a module of its own, and torch compiles the code for at most eight modules.
        torch.compiler.reset()
    given = _attempt(_spoiled(name, case), variant)
    grade, reason = graded(
        given, reference, exact, case.torch_dtype, turned=turned, hides=name == NAN
    )
    return Conformance(name, _behaviour(reference), _behaviour(given), grade, reason)


@cache
def _truth(name: str, case: Case) -> tuple[Result, Result, Result]:
    """Return the reference's results in float64, in the Case's dtype, and in reverse order."""
    workload = _spoiled(name, case)
    exact, reference, turned = (
        _attempt(each, REFERENCE) for each in (workload.exact(), workload, workload.mirrored())
    )
    if not isinstance(turned, str):
        turned = {key: mirrored(key.split(".")[1], tensor) for key, tensor in turned.items()}
    return exact, reference, turned


def _spoiled(name: str, case: Case) -> Workload:
    workload = Workload.of(case).exact()
    inputs, state = dict(workload.inputs[0]), {k: t.clone() for k, t in workload.state.items()}
    DEGENERATE[name].spoil(inputs, state)
    cotangent = workload.cotangents[0]
    if cotangent is not None and cotangent.dim() == 2:
        cotangent = cotangent[: len(inputs["a"]), : len(inputs["b"])]
    spoiled = replace(workload, inputs=(inputs,), state=state, cotangents=(cotangent,))
    return spoiled.rounded(case)


def _attempt(workload: Workload, variant: str) -> Result:
    module = workload.module(impls.implementation(workload.case.loss, variant), validate=True)
    try:
        return quantities(workload.step(module))
    except Exception as error:  # noqa: BLE001 - the test is which error it raises, if any
        return f"raises {type(error).__name__}"


def _behaviour(result: Result) -> str:
    if isinstance(result, str):
        return result
    odd = [name for name, tensor in result.items() if not tensor.isfinite().all()]
    return f"not finite: {', '.join(odd)}" if odd else "finite"


def graded(
    given: Result,
    reference: Result,
    exact: Result,
    dtype: torch.dtype,
    *,
    turned: Result,
    hides: bool,
) -> tuple[Grade, str]:
    """Return the grade of an implementation's result, and the reason.

    Args:
        given: result of the implementation.
        reference: result of the reference in the same dtype.
        exact: result of the reference in float64.
        dtype: dtype of ``given`` and ``reference``.
        turned: result of the reference with the features in reverse order.
        hides: whether the input has NaN, which a finite result would hide.
    """
    if not (_usable(given) and _usable(reference)):
        if _usable(given) == _usable(reference):
            return "same", ""
        if isinstance(given, str) or isinstance(reference, str) or hides:
            better = _usable(given) and not hides
            return ("better" if better else "worse"), _behaviour(given)
    assert not isinstance(given, str)
    assert not isinstance(reference, str)
    truth: Mapping[str, Tensor] = {} if isinstance(exact, str) else exact
    others: Mapping[str, Tensor] = reference if isinstance(turned, str) else turned
    grades = {
        name: _grade_quantity(given[name], (reference[name], others[name]), truth.get(name), dtype)
        for name in given
    }
    for grade in ("worse", "better"):
        which = [name for name, found in grades.items() if found == grade]
        if which:
            return grade, ", ".join(which)
    return "same", ""


def _usable(result: Result) -> bool:
    """Return whether the loss is finite; otherwise the gradients do not matter."""
    return not isinstance(result, str) and bool(next(iter(result.values())).isfinite().all())


def _grade_quantity(
    given: Tensor, references: tuple[Tensor, ...], exact: Tensor | None, dtype: torch.dtype
) -> Grade:
    given_finite, reference_finite = (bool(t.isfinite().all()) for t in (given, references[0]))
    if given_finite != reference_finite:
        return "better" if given_finite else "worse"
    if not given_finite or exact is None or not exact.isfinite().all():
        return "same"
    off, band = relative_error(given, exact), rounding_band(dtype)
    usual = [relative_error(each, exact) for each in references if each.isfinite().all()]
    if off > FACTOR * max(usual) + band:
        return "worse"
    return "better" if min(usual) > FACTOR * off + band else "same"
