"""Trajectories: how far small errors of single steps carry an implementation in training.

The embeddings and the parameters are trained by plain SGD from one state, by the reference in
float64, the reference in float32 and the variant in float32. What a gradient a little off does over
many steps, and an honest rounding error does not, is seen here; nothing is refused for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.data import DRAWS
from lossbench.bench.case.workload import Workload, dense, trainable
from lossbench.bench.measure.agreement import FACTOR, rounding_band
from lossbench.bench.measure.deviation import relative_error
from lossbench.impls.registry import REFERENCE

STEPS = 50
BATCH, DIM, CLASSES = 64, 32, 10
# Of the length of a tensor, in the first step: the loss moves by much in 50, and none diverges.
FIRST_MOVE = 0.01


@checked_dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Trajectory:
    """Where an implementation in float32 comes to, beside the reference in float32.

    Both are held against the reference in float64. A gap of the loss is relative to the largest
    loss on the way.

    Attributes:
        steps: how many were taken.
        drift: of the trained tensors and the state after the last step, the largest relative error.
        reference_drift: the same of the reference.
        loss_gap: the largest over the steps.
        reference_loss_gap: the same of the reference.
        parted: the first step, from 0, at which the gap is more than ``FACTOR`` times the
            reference's largest and the rounding band; ``None`` where there is none.
    """

    steps: int
    drift: float
    reference_drift: float
    loss_gap: float
    reference_loss_gap: float
    parted: int | None


@dataclass(frozen=True)
class Path:
    """One way down.

    Attributes:
        losses: at every step, ``[STEPS]``.
        ends: the trained inputs of every draw, and the state, after the last step.
    """

    losses: Tensor
    ends: Mapping[str, Tensor]


@dataclass(frozen=True)
class Descent:
    """What the implementations of a Loss are led along.

    Attributes:
        workload: in float32.
        rates: the learning rate of every trained tensor, by name.
        exact: the path of the reference in float64.
        reference: its path in float32.
    """

    workload: Workload
    rates: Mapping[str, float]
    exact: Path
    reference: Path


def measure_trajectory(loss: str, variant: str, device: str) -> Trajectory:
    """Return where an implementation comes to in 50 steps of SGD, in float32 at a small size."""
    course = descent_of(loss, device)
    path = descend(course.workload, impls.implementation(loss, variant), course.rates)
    return compare_paths(path, course.reference, course.exact)


@lru_cache(maxsize=1)
def descent_of(loss: str, device: str) -> Descent:
    """Return what all implementations of a Loss have in common, made once a process for them."""
    workload = Workload.of(Case(loss, BATCH, DIM, CLASSES, device=device))
    reference = impls.implementation(loss, REFERENCE)
    rates = _rates(workload.exact(), reference)
    exact, own = (descend(w, reference, rates) for w in (workload.exact(), workload))
    return Descent(workload, rates, exact, own)


def compare_paths(path: Path, reference: Path, exact: Path) -> Trajectory:
    """Return how a path and the reference's in float32 part from the exact one."""
    gaps, own = (loss_gaps(p.losses, exact.losses) for p in (path, reference))
    allowed = FACTOR * own.max() + rounding_band(torch.float32)
    parted = (gaps > allowed).nonzero()
    return Trajectory(
        steps=len(exact.losses),
        drift=_drift(path, exact),
        reference_drift=_drift(reference, exact),
        loss_gap=float(gaps.max()),
        reference_loss_gap=float(own.max()),
        parted=int(parted[0]) if len(parted) else None,
    )


def _drift(path: Path, exact: Path) -> float:
    return max(relative_error(path.ends[name], end) for name, end in exact.ends.items())


def loss_gaps(losses: Tensor, exact: Tensor) -> Tensor:
    """Return how far the losses are off at every step, ``[STEPS]``: inf where one is not finite."""
    gaps = (losses - exact).abs() / exact.abs().max()
    return gaps.nan_to_num(nan=torch.inf)


def _rates(workload: Workload, implementation: impls.Implementation) -> dict[str, float]:
    """Return rates at which the first step moves each tensor by ``FIRST_MOVE`` of its length."""
    module = workload.module(implementation)
    rates: dict[str, float] = {}
    for draw, inputs in enumerate(workload.inputs):
        workload.reset(module)
        for name, gradient in workload.step(module, draw).gradients.items():
            length = torch.linalg.vector_norm({**inputs, **workload.state}[name])
            slope = torch.linalg.vector_norm(gradient)
            rate = FIRST_MOVE * float(length / slope) if slope > 0 else math.inf
            key = _key(name, inputs, draw)
            # A parameter has a gradient in every draw, and the steepest sets its rate.
            rates[key] = min(rate, rates.get(key, math.inf))
    return {key: rate if math.isfinite(rate) else 0.0 for key, rate in rates.items()}


def descend(
    workload: Workload, implementation: impls.Implementation, rates: Mapping[str, float]
) -> Path:
    """Return the path of an implementation: the draws in turn, each with embeddings to train."""
    module = workload.module(implementation)
    batches = [workload.leaves(draw) for draw in range(DRAWS)]
    losses = []
    for step in range(STEPS):
        draw = step % DRAWS
        inputs = batches[draw]
        targets = trainable(module, inputs)
        out = workload.outputs(module, inputs)
        gradients = workload.gradients(out, list(targets.values()), draw)
        losses.append(_loss(out[0], workload.cotangents[draw]))
        with torch.no_grad():
            for (name, tensor), gradient in zip(targets.items(), gradients, strict=True):
                tensor.sub_(dense(gradient, tensor), alpha=rates[_key(name, inputs, draw)])
    trained = {
        _key(name, inputs, draw): tensor.detach()
        for draw, inputs in enumerate(batches)
        for name, tensor in inputs.items()
    }
    return Path(torch.tensor(losses, dtype=torch.float64), {**trained, **module.state_dict()})


def _key(name: str, inputs: Mapping[str, Tensor], draw: int) -> str:
    """Return the name of a tensor among those of all draws: ``embeddings[1]``, ``weight``."""
    return f"{name}[{draw}]" if name in inputs else name


def _loss(value: Tensor, cotangent: Tensor | None) -> float:
    """Return the number that a step lowers: of a distance block, its product with the cotangent."""
    value = value.detach().double()
    return float(value if cotangent is None else (value * cotangent.double()).sum())
