"""Agreement: how far an implementation is from the reference in float64, and how far it may be.

The budget comes from data. In the Case's own dtype the reference itself errs by some amount; an
implementation passes where it errs by no more than ``FACTOR`` times that, plus a rounding band: one
unit of the dtype, for the rounding of the result, and ``BAND`` units of the dtype that sums are
accumulated in, for another order of summation. Where the reference's error tells nothing, in
float64, which would be held against itself, or where the reference overflows, it is taken from
float32 and scaled by the epsilons.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

import impls
from bench.cases import Case
from bench.workload import DRAWS, Outcome, Workload

FACTOR = 4.0
BAND = 2.0


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Agreement:
    """One quantity of an implementation beside the float64 oracle.

    Attributes:
        quantity: ``out.loss``, ``grad.weight``, ``after.centers``, ...
        error: ``‖v - v64‖ / ‖v64‖``, the largest over the draws.
        reference_error: the same of the reference, in the same dtype.
        budget: the largest error that passes.
    """

    quantity: str
    error: float
    reference_error: float
    budget: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the budget."""
        return self.error <= self.budget

    def __str__(self) -> str:
        """Return both figures: ``grad.weight is off by 1.2e-03, at most 4.1e-07 passes``."""
        return f"{self.quantity} is off by {self.error:.1e}, at most {self.budget:.1e} passes"


def relative_error(value: Tensor, exact: Tensor) -> float:
    """Return ``‖v - v64‖ / ‖v64‖`` in float64: 0 for equal, inf where one is not finite alone.

    Where the exact value is 0 throughout the error is absolute.
    """
    value, exact = value.detach().cpu().double(), exact.detach().cpu().double()
    if value.shape != exact.shape:
        return math.inf
    odd = ~exact.isfinite()
    if not torch.equal(odd, ~value.isfinite()):
        return math.inf
    difference = torch.linalg.vector_norm((value - exact).masked_fill(odd, 0))
    scale = torch.linalg.vector_norm(exact.masked_fill(odd, 0))
    return float(difference / scale if scale > 0 else difference)


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


@lru_cache(maxsize=2)
def oracle(case: Case) -> tuple[dict[str, Tensor], ...]:
    """Return what the reference gives in float64 on the CPU, a draw each."""
    return steps(workload_of(case).exact(), impls.implementation(case.loss, "reference"))


@lru_cache(maxsize=2)
def reference_errors(case: Case) -> Mapping[str, float]:
    """Return the reference's own error, by quantity, in the Case's dtype."""
    if case.dtype != "float64":
        reference = impls.implementation(case.loss, "reference")
        errors = _errors(steps(workload_of(case), reference), oracle(case))
        if case.dtype == "float32" or all(map(math.isfinite, errors.values())):
            return errors
    scale = torch.finfo(case.torch_dtype).eps / torch.finfo(torch.float32).eps
    in_float32 = reference_errors(replace(case, dtype="float32"))
    return {name: scale * error for name, error in in_float32.items()}


def steps(
    workload: Workload, implementation: impls.Implementation
) -> tuple[dict[str, Tensor], ...]:
    """Return what one module gives on every draw, each from the initial state."""
    module = workload.module(implementation, validate=True)
    results = []
    for draw in range(DRAWS):
        workload.reset(module)
        results.append(quantities(workload.step(module, draw)))
    return tuple(results)


def _errors(
    values: tuple[dict[str, Tensor], ...], exact: tuple[dict[str, Tensor], ...]
) -> dict[str, float]:
    """Return the largest error over the draws of every quantity that was computed."""
    return {
        name: max(
            relative_error(value[name], truth[name])
            for value, truth in zip(values, exact, strict=True)
        )
        for name in values[0]
    }


def rounding_band(dtype: torch.dtype) -> float:
    """Return the relative error that correct rounding alone may leave in a dtype."""
    accumulated = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    return torch.finfo(dtype).eps + BAND * accumulated


def measure_agreement(case: Case, implementation: impls.Implementation) -> tuple[Agreement, ...]:
    """Return how an implementation agrees with the oracle, a quantity each.

    Raises:
        ValueError: where it computes no loss, or a quantity that the Loss does not have.
    """
    exact, own = oracle(case), reference_errors(case)
    values = steps(workload_of(case), implementation)
    missing = {name for name in exact[0] if not name.startswith("out.")} - set(values[0])
    surplus = set(values[0]) - set(exact[0])
    if missing or surplus or next(iter(exact[0])) not in values[0]:
        raise ValueError(f"expected {', '.join(exact[0])}; got {', '.join(values[0])}")
    band = rounding_band(case.torch_dtype)
    return tuple(
        Agreement(name, error, own[name], FACTOR * own[name] + band)
        for name, error in _errors(values, exact).items()
    )
