"""Compare an implementation with the reference in float64, and set its error budget.

The budget comes from data. The reference itself has an error in the Case's dtype. An implementation
passes if its error is at most ``FACTOR`` times this error plus a rounding band: one unit of the
dtype, for the rounding of the result, and ``BAND`` units of the accumulator's dtype, for another
order of summation. A single number such as the loss can be exact by luck, so the reference is run
twice, the second time with the features in reverse order, and the larger error counts. The error is
also meaningless in float64, which is the oracle's own dtype, and if the reference overflows. There
it is at least the error of float32, scaled by the ratio of the epsilons.

Each draw has a budget of its own, so an error on one kind of data cannot use the larger budget of
another kind.
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
    """The error of one quantity of an implementation against the float64 oracle.

    All figures are of one draw: the one with the largest error relative to its budget.

    Attributes:
        quantity: ``out.loss``, ``grad.weight``, ``after.centers``, ...
        error: relative error ``‖v - v64‖ / ‖v64‖``.
        reference_error: relative error of the reference in the same dtype.
        budget: largest relative error that passes.
        ulps: largest ``|v - v64|`` of an element, in units in the last place of the Case's dtype,
            under autocast too; NaN in records of schema 1.
        reference_ulps: largest such difference of the reference.
        draw: number of the draw; ``None`` in records of schema 1.
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
        """The error over the budget; above 1 the implementation is refused.

        It is 0 if the budget is infinite. The reference itself overflows then, so any error
        passes, even an infinite one.
        """
        return self.error / self.budget if math.isfinite(self.budget) else 0.0

    def __str__(self) -> str:
        """Return both figures: ``grad.weight is off by 1.2e-03, at most 4.1e-07 passes``."""
        return f"{self.quantity} is off by {self.error:.1e}, at most {self.budget:.1e} passes"


def quantities(outcome: Outcome) -> dict[str, Tensor]:
    """Return all compared tensors of an outcome, by the name of the quantity."""
    groups = {"out": outcome.outputs, "grad": outcome.gradients, "after": outcome.state}
    return {
        f"{group}.{name}": tensor
        for group, named in groups.items()
        for name, tensor in named.items()
    }


@lru_cache(maxsize=2)
def workload_of(case: Case) -> Workload:
    """Return the workload of a Case, made once per process for all variants."""
    return Workload.of(case)


Reference = Callable[..., nn.Module] | None
"""The reference class to compare with, of another catalogue; ``None`` for the registry's own."""


@lru_cache(maxsize=2)
def oracle(case: Case, reference: Reference = None) -> tuple[dict[str, Tensor], ...]:
    """Return the quantities of the reference in float64 on the CPU, one mapping per draw."""
    return steps(workload_of(case).exact(), _implementation(case, reference))


@lru_cache(maxsize=2)
def reference_errors(case: Case, reference: Reference = None) -> tuple[Mapping[str, Errors], ...]:
    """Return the reference's own errors in the Case's dtype by quantity, one mapping per draw."""
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
    """Return the reference's errors per draw; cached, since its steps may take seconds."""
    return _errors(case, steps(workload_of(case), _implementation(case, reference)), reference)


def _implementation(case: Case, reference: Reference) -> impls.Implementation:
    if reference is None:
        return impls.implementation(case.loss, REFERENCE)
    # The type checker thinks that classes of modules are not hashable, so it needs a cast.
    entry = replace(impls.loss(case.loss), reference=cast(type[nn.Module], reference))
    return impls.Implementation(entry, REFERENCE, reference)


def _mirrored_steps(
    case: Case, implementation: impls.Implementation
) -> tuple[dict[str, Tensor], ...]:
    """Return the quantities computed with features in reverse order, put back in order."""
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
    """Return the float32 errors of the reference times the ratio of epsilons, with equal ulps."""
    scale = torch.finfo(case.torch_dtype).eps / torch.finfo(torch.float32).eps
    return tuple(
        {name: Errors(scale * error.relative, error.ulps) for name, error in errors.items()}
        for errors in reference_errors(replace(case, dtype="float32", autocast=False), reference)
    )


def steps(
    workload: Workload, implementation: impls.Implementation
) -> tuple[dict[str, Tensor], ...]:
    """Return the quantities of one module on every draw, each from the initial state."""
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
    """Return the errors of every computed quantity, one mapping per draw.

    Raises:
        ValueError: if the loss, a gradient or a state is missing, or the Loss has no such quantity.
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
    """Return the relative error that rounding alone may cause in a dtype."""
    accumulated = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    return torch.finfo(dtype).eps + BAND * accumulated


def measure_agreement(
    case: Case, implementation: impls.Implementation, reference: Reference = None
) -> tuple[Agreement, ...]:
    """Return the errors of an implementation against the oracle, one entry per quantity.

    Raises:
        ValueError: if the loss, a gradient or a state is missing, or the Loss has no such quantity.
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
