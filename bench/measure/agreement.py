"""Agreement: how far an implementation is from the reference in float64, and how far it may be.

The budget comes from data. In the Case's own dtype the reference itself errs by some amount; an
implementation passes where it errs by no more than ``FACTOR`` times that, plus a rounding band: one
unit of the dtype, for the rounding of the result, and ``BAND`` units of the dtype that sums are
accumulated in, for another order of summation. The reference's error is the larger of two, the
second with the features in reverse order, since a single number such as the loss is off by nearly
nothing now and then. Where it tells nothing, in float64, in which the first is 0, or where the
reference overflows, it is at least that of float32, scaled by the epsilons.

Each draw has a budget of its own, so that a fault on one kind of data does not pass by what another
kind is granted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import cast

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Outcome, Workload, mirrored
from lossbench.bench.machine.guards import generators_untouched
from lossbench.bench.measure.deviation import Errors, errors_of
from lossbench.impls.registry import REFERENCE

FACTOR = 4.0
BAND = 2.0


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Agreement:
    """One quantity of an implementation beside the float64 oracle.

    All figures are of one draw: the one that is nearest to its budget, or furthest beyond it.

    Attributes:
        quantity: ``out.loss``, ``grad.weight``, ``after.centers``, ...
        error: ``‖v - v64‖ / ‖v64‖``.
        reference_error: the same of the reference, in the same dtype.
        budget: the largest error that passes.
        ulps: the largest ``|v - v64|`` of an element, in units in the last place of the Case's
            dtype, under autocast too.
        reference_ulps: the same of the reference.
        draw: the number of the draw; ``None`` in records of schema 1, which did not keep it, nor
            the ulps, which are NaN there.
    """

    quantity: str
    error: float
    reference_error: float
    budget: float
    ulps: float
    reference_ulps: float
    draw: int | None

    @property
    def passed(self) -> bool:
        """Whether the error is within the budget."""
        return self.error <= self.budget

    @property
    def budget_share(self) -> float:
        """The share of the budget that the error takes: above 1 where it is refused.

        0 where the budget is infinite, since the reference itself overflows there and any error,
        an infinite one too, passes.
        """
        return self.error / self.budget if math.isfinite(self.budget) else 0.0

    def __str__(self) -> str:
        """Return both figures: ``grad.weight is off by 1.2e-03, at most 4.1e-07 passes``."""
        return f"{self.quantity} is off by {self.error:.1e}, at most {self.budget:.1e} passes"


def quantities(outcome: Outcome) -> dict[str, Tensor]:
    """Return everything that is compared of an outcome, by name."""
    groups = {"out": outcome.outputs, "grad": outcome.gradients, "after": outcome.state}
    return {
        f"{group}.{name}": tensor
        for group, named in groups.items()
        for name, tensor in named.items()
    }


@lru_cache(maxsize=2)
def workload_of(case: Case) -> Workload:
    """Return the workload of a Case, made once a process for all of its variants."""
    return Workload.of(case)


Reference = Callable[..., nn.Module] | None
"""Whose word is taken: the class of another catalogue's reference, or ``None`` for this one's."""


@lru_cache(maxsize=2)
def oracle(case: Case, reference: Reference = None) -> tuple[dict[str, Tensor], ...]:
    """Return what the reference gives in float64 on the CPU, a draw each."""
    return steps(workload_of(case).exact(), _implementation(case, reference))


@lru_cache(maxsize=2)
def reference_errors(case: Case, reference: Reference = None) -> tuple[Mapping[str, Errors], ...]:
    """Return the reference's own errors in the Case's dtype, by quantity, a draw each."""
    mirrored_steps = _mirrored_steps(case, _implementation(case, reference))
    errors = _larger(_plain_errors(case, reference), _errors(case, mirrored_steps, reference))
    if case.dtype == "float64":
        return _larger(errors, _scaled_from_float32(case, reference))
    if case.dtype == "float32" or all(map(_tells, errors)):
        return errors
    return tuple(
        own if _tells(own) else scaled
        for own, scaled in zip(errors, _scaled_from_float32(case, reference), strict=True)
    )


@lru_cache(maxsize=2)
def _plain_errors(case: Case, reference: Reference) -> tuple[dict[str, Errors], ...]:
    """Return the errors of the reference itself, a draw each; its steps may take seconds."""
    return _errors(case, steps(workload_of(case), _implementation(case, reference)), reference)


def _implementation(case: Case, reference: Reference) -> impls.Implementation:
    if reference is None:
        return impls.implementation(case.loss, REFERENCE)
    # Not a class to the type checker, which takes no class of modules to be hashable.
    entry = replace(impls.loss(case.loss), reference=cast(type[nn.Module], reference))
    return impls.Implementation(entry, REFERENCE, reference)


def _mirrored_steps(
    case: Case, implementation: impls.Implementation
) -> tuple[dict[str, Tensor], ...]:
    """Return what the features in reverse order give, put back in order."""
    return tuple(
        {name: mirrored(name.split(".")[1], tensor) for name, tensor in values.items()}
        for values in steps(workload_of(case).mirrored(), implementation)
    )


def _larger(
    one: tuple[Mapping[str, Errors], ...], other: tuple[Mapping[str, Errors], ...]
) -> tuple[Mapping[str, Errors], ...]:
    return tuple(
        {name: Errors(*map(max, a[name], b[name])) for name in a}
        for a, b in zip(one, other, strict=True)
    )


def _tells(errors: Mapping[str, Errors]) -> bool:
    return all(math.isfinite(error.relative) for error in errors.values())


def _scaled_from_float32(case: Case, reference: Reference) -> tuple[Mapping[str, Errors], ...]:
    """Return the reference's errors in float32 times the ratio of the epsilons, as many ulps."""
    scale = torch.finfo(case.torch_dtype).eps / torch.finfo(torch.float32).eps
    return tuple(
        {name: Errors(scale * error.relative, error.ulps) for name, error in errors.items()}
        for errors in reference_errors(replace(case, dtype="float32", autocast=False), reference)
    )


def steps(
    workload: Workload, implementation: impls.Implementation
) -> tuple[dict[str, Tensor], ...]:
    """Return what one module gives on every draw, each from the initial state."""
    module = workload.module(implementation, validate=True)
    results = []
    for draw in range(len(workload.inputs)):
        workload.reset(module)
        with generators_untouched():
            results.append(quantities(workload.step(module, draw)))
    return tuple(results)


def _errors(
    case: Case, values: tuple[dict[str, Tensor], ...], reference: Reference
) -> tuple[dict[str, Errors], ...]:
    """Return the errors of every quantity that was computed, a draw each.

    Raises:
        ValueError: where there is no loss, or a quantity that the Loss does not have.
    """
    exact = oracle(case, reference)
    missing = {name for name in exact[0] if not name.startswith("out.")} - set(values[0])
    surplus = set(values[0]) - set(exact[0])
    if missing or surplus or next(iter(exact[0])) not in values[0]:
        raise ValueError(f"expected {', '.join(exact[0])}; got {', '.join(values[0])}")
    return tuple(
        {name: errors_of(tensor, truth[name], case.torch_dtype) for name, tensor in value.items()}
        for value, truth in zip(values, exact, strict=True)
    )


def rounding_band(dtype: torch.dtype) -> float:
    """Return the relative error that correct rounding alone may leave in a dtype."""
    accumulated = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    return torch.finfo(dtype).eps + BAND * accumulated


def measure_agreement(
    case: Case, implementation: impls.Implementation, reference: Reference = None
) -> tuple[Agreement, ...]:
    """Return how an implementation agrees with the oracle, a quantity each.

    Raises:
        ValueError: where it computes no loss, or a quantity that the Loss does not have.
    """
    own = reference_errors(case, reference)
    if implementation.builder is _implementation(case, reference).builder:
        errors = _plain_errors(case, reference)
    else:
        errors = _errors(case, steps(workload_of(case), implementation), reference)
    band = rounding_band(case.torch_dtype)
    return tuple(
        max(
            (
                _agreement(name, draw, errors[draw][name], own[draw][name], band)
                for draw in range(len(errors))
            ),
            key=lambda agreement: agreement.budget_share,
        )
        for name in errors[0]
    )


def _agreement(name: str, draw: int, error: Errors, own: Errors, band: float) -> Agreement:
    return Agreement(
        quantity=name,
        error=error.relative,
        reference_error=own.relative,
        budget=FACTOR * own.relative + band,
        ulps=error.ulps,
        reference_ulps=own.ulps,
        draw=draw,
    )
