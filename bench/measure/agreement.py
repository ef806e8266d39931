"""Compare an implementation with the reference in float64, and set its error budget.

The budget comes from data. The reference itself has an error in the Case's dtype. An implementation
passes if its error is at most ``FACTOR`` times this error plus a rounding band: one unit of the
dtype, for the rounding of the result, and ``BAND`` units of the accumulator's dtype, for another
order of summation. A single number such as the loss can be exact by luck, so the reference is run
twice, the second time with the features in reverse order, and the larger error counts. The error is
also meaningless in float64, which is the oracle's own dtype, and if the reference overflows. There
it is at least the error of float32, scaled by the ratio of the epsilons.

Each draw has a budget of its own, so an error on one kind of batch cannot use the larger budget of
another kind. ``bench.case.draws`` has the kinds.

``expect`` computes what is expected of any Workload, and ``Expectation.check`` compares one outcome
with it, for example the outcome of a timed call.
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
from lossbench.bench.case.draws import draw_of
from lossbench.bench.case.workload import Outcome, Workload, mirrored
from lossbench.bench.machine.guards import generators_untouched
from lossbench.bench.measure.deviation import Errors, errors_of
from lossbench.bench.measure.oracle import oracle_of
from lossbench.bench.measure.overwriting import is_overwritten
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
        """Return figures and draw: ``out.loss is off by 1e-03 (odd batch), at most 4e-07 passes``.

        The draw is left out if it is the timed one.
        """
        where = f" ({draw_of(self.draw).name})" if self.draw else ""
        return (
            f"{self.quantity} is off by {self.error:.1e}{where}, at most {self.budget:.1e} passes"
        )


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Expectation:
    """What is expected of one step: its exact quantities, and how exact the reference is.

    Attributes:
        draw: number of the draw of the step.
        dtype: dtype of the Case.
        exact: quantities of the reference in float64 on the CPU.
        plain: errors of the reference in the Case's dtype.
        own: errors that set the budget: the larger ones of two orders of summation.
        left_out: outputs that the oracle does not compute, so that they are not compared.
    """

    draw: int
    dtype: torch.dtype
    exact: Mapping[str, Tensor]
    plain: Mapping[str, Errors]
    own: Mapping[str, Errors]
    left_out: tuple[str, ...] = ()

    def check(self, values: Mapping[str, Tensor]) -> tuple[Agreement, ...]:
        """Compare the quantities of an outcome with the exact ones, under the error budget.

        Args:
            values: quantities of a step from the same inputs and state, as ``quantities`` gives.

        Raises:
            ValueError: if the loss, a gradient or a state is missing, or the Loss has no such
                quantity.
        """
        compared = {name: v for name, v in values.items() if name not in self.left_out}
        return self.weigh(errors_against(self.exact, compared, self.dtype))

    def weigh(self, errors: Mapping[str, Errors]) -> tuple[Agreement, ...]:
        """Return the errors beside their budgets, one entry per quantity."""
        band = rounding_band(self.dtype)
        return tuple(
            Agreement(
                quantity=name,
                error=error.relative,
                reference_error=self.own[name].relative,
                budget=FACTOR * self.own[name].relative + band,
                ulps=error.ulps,
                reference_ulps=self.own[name].ulps,
                draw=self.draw,
            )
            for name, error in errors.items()
        )


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
def expectations(case: Case, reference: Reference = None) -> tuple[Expectation, ...]:
    """Return what is expected of each draw of a Case, made once per process for all variants."""
    return expect(workload_of(case), reference)


def expect(workload: Workload, reference: Reference = None) -> tuple[Expectation, ...]:
    """Return what is expected of each draw of a workload; it runs three steps per draw.

    Args:
        workload: workload of a Case, with any inputs and state.
        reference: reference class to compare with; by default the registry's.
    """
    implementation, dtype = reference_of(workload.case, reference), workload.case.torch_dtype
    exact = steps(workload.exact(), implementation)
    plain, turned = (
        tuple(
            errors_against(truth, values, dtype) for truth, values in zip(exact, given, strict=True)
        )
        for given in (steps(workload, implementation), _mirrored_steps(workload, implementation))
    )
    own = tuple(map(_larger, plain, turned))
    if dtype == torch.float64:
        own = tuple(map(_larger, own, _scaled_from_float32(workload, reference)))
    elif dtype != torch.float32 and not all(map(_tells, own)):
        scaled = _scaled_from_float32(workload, reference)
        own = tuple(e if _tells(e) else other for e, other in zip(own, scaled, strict=True))
    left_out = tuple(f"out.{name}" for name in getattr(implementation, "leaves_out", ()))
    return tuple(
        Expectation(draw, dtype, *found, left_out)
        for draw, found in enumerate(zip(exact, plain, own, strict=True))
    )


def reference_of(case: Case, reference: Reference = None) -> impls.Implementation:
    """Return what a Case is judged by: another catalogue's reference, or the oracle's choice."""
    if reference is None or reference is impls.implementation(case.loss, REFERENCE).builder:
        return oracle_of(case)
    # The type checker thinks that classes of modules are not hashable, so it needs a cast.
    entry = replace(impls.loss(case.loss), reference=cast(type[nn.Module], reference))
    return impls.Implementation(entry, REFERENCE, reference)


def _mirrored_steps(
    workload: Workload, implementation: impls.Implementation
) -> tuple[dict[str, Tensor], ...]:
    """Return the quantities computed with features in reverse order, put back in order."""
    return tuple(
        {name: mirrored(name.split(".")[1], tensor) for name, tensor in values.items()}
        for values in steps(workload.mirrored(), implementation)
    )


def _larger(one: Mapping[str, Errors], other: Mapping[str, Errors]) -> Mapping[str, Errors]:
    return {name: Errors(*map(max, one[name], other[name])) for name in one}


def _tells(errors: Mapping[str, Errors]) -> bool:
    return all(math.isfinite(error.relative) for error in errors.values())


def _scaled_from_float32(
    workload: Workload, reference: Reference
) -> tuple[Mapping[str, Errors], ...]:
    """Return the float32 errors of the reference times the ratio of epsilons, with equal ulps."""
    scale = torch.finfo(workload.case.torch_dtype).eps / torch.finfo(torch.float32).eps
    wide = workload.rounded(replace(workload.case, dtype="float32", autocast=False))
    return tuple(
        {
            name: Errors(scale * error.relative, error.ulps)
            for name, error in expectation.own.items()
        }
        for expectation in expect(wide, reference)
    )


def steps(
    workload: Workload, implementation: impls.Implementation
) -> tuple[dict[str, Tensor], ...]:
    """Return the quantities of one module on every draw, each from the state that it begins with.

    That is the state which ``Workload.reset`` sets, unless the draw follows the one before it.
    """
    module = workload.module(implementation, validate=True)
    overwritten = is_overwritten(implementation, workload.case.device)
    results = []
    for draw in range(len(workload.inputs)):
        if not draw_of(draw).follows:
            workload.reset(module, draw)
        with generators_untouched():
            found = quantities(workload.step(module, draw))
        if overwritten:
            found = {name: tensor.clone() for name, tensor in found.items()}
        results.append(found)
    return tuple(results)


def errors_against(
    exact: Mapping[str, Tensor], values: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Errors]:
    """Return the error of every computed quantity; ulps are those of a dtype.

    Raises:
        ValueError: if the loss, a gradient or a state is missing, or the Loss has no such quantity.
    """
    missing = {name for name in exact if not name.startswith("out.")} - set(values)
    surplus = set(values) - set(exact)
    if missing or surplus or next(iter(exact)) not in values:
        raise ValueError(f"expected {', '.join(exact)}; got {', '.join(values)}")
    return {name: errors_of(tensor, exact[name], dtype) for name, tensor in values.items()}


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
    expected = expectations(case, reference)
    if implementation.builder is reference_of(case, reference).builder:
        found = [each.weigh(each.plain) for each in expected]
    else:
        given = steps(workload_of(case), implementation)
        found = [each.check(values) for each, values in zip(expected, given, strict=True)]
    # The draws have their quantities in one order, that of the Loss.
    return tuple(
        max(parts, key=lambda part: part.budget_share) for parts in zip(*found, strict=True)
    )
