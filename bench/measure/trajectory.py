"""Measure how small errors of single steps add up in training.

The reference in float64, the reference in float32 and the variant in float32 train the embeddings
and the parameters by plain SGD from the same state. A small systematic error of a gradient adds up
over many steps, and a rounding error does not. The result is shown; no variant is refused for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload, dense, trainable
from lossbench.bench.measure.agreement import FACTOR, rounding_band
from lossbench.bench.measure.deviation import relative_error
from lossbench.impls.registry import REFERENCE

STEPS = 50
BATCH, DIM, CLASSES = 64, 32, 10
# Batches of two kinds of data; the rest of the draws differ only in what a single step shows.
BATCHES = 3
# The first step moves a tensor by this share of its length. In 50 steps the loss then changes
# much, and no loss diverges.
FIRST_MOVE = 0.01


@checked_dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Trajectory:
    """The errors of an implementation and of the reference, both in float32, after many steps.

    Both are compared with the reference in float64. A loss gap is the difference of a loss over
    the largest loss of all steps.

    Attributes:
        steps: number of steps.
        drift: largest relative error of the trained tensors and the state after the last step.
        reference_drift: drift of the reference.
        loss_gap: largest loss gap of all steps.
        reference_loss_gap: largest loss gap of the reference.
        parted: first step, from 0, with a loss gap above ``FACTOR`` times the reference's largest
            plus the rounding band; ``None`` if there is none.
    """

    steps: int
    drift: float
    reference_drift: float
    loss_gap: float
    reference_loss_gap: float
    parted: int | None


@dataclass(frozen=True)
class Path:
    """The results of one training.

    Attributes:
        losses: loss at every step, ``[STEPS]``.
        ends: trained inputs of every draw, and the state, after the last step.
    """

    losses: Tensor
    ends: Mapping[str, Tensor]


@dataclass(frozen=True)
class Descent:
    """The inputs, the learning rates and the reference's results for all variants of a Loss.

    Attributes:
        workload: workload in float32.
        rates: learning rate of every trained tensor, by name.
        exact: path of the reference in float64.
        reference: path of the reference in float32.
    """

    workload: Workload
    rates: Mapping[str, float]
    exact: Path
    reference: Path


def measure_trajectory(loss: str, variant: str, device: str) -> Trajectory:
    """Return the errors of an implementation over 50 SGD steps, in float32 at a small size."""
    course = descent_of(loss, device)
    path = descend(course.workload, impls.implementation(loss, variant), course.rates)
    return compare_paths(path, course.reference, course.exact)


@lru_cache(maxsize=1)
def descent_of(loss: str, device: str) -> Descent:
    """Return the descent of a Loss, made once per process for all variants."""
    workload = Workload.of(Case(loss, BATCH, DIM, CLASSES, device=device), draws=BATCHES)
    if impls.loss(loss).kind == "loss":
        # Training moves down the loss itself, not a multiple of it.
        workload = replace(workload, cotangents=(None,) * BATCHES)
    reference = impls.implementation(loss, REFERENCE)
    rates = _rates(workload.exact(), reference)
    exact, own = (descend(w, reference, rates) for w in (workload.exact(), workload))
    return Descent(workload, rates, exact, own)


def compare_paths(path: Path, reference: Path, exact: Path) -> Trajectory:
    """Return the errors of a path, and of the reference's in float32, against the exact path."""
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
    """Return the loss gap at every step, ``[STEPS]``; it is inf if a loss is not finite."""
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
            # A parameter has a gradient in every draw; the largest one sets its rate.
            rates[key] = min(rate, rates.get(key, math.inf))
    return {key: rate if math.isfinite(rate) else 0.0 for key, rate in rates.items()}


def descend(
    workload: Workload, implementation: impls.Implementation, rates: Mapping[str, float]
) -> Path:
    """Return the path of an implementation: draws take turns, each with its own trained inputs."""
    module = workload.module(implementation)
    batches = [workload.leaves(draw) for draw in range(BATCHES)]
    losses = []
    for step in range(STEPS):
        draw = step % BATCHES
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
    """Return a name that is unique over all draws: ``embeddings[1]``, ``weight``."""
    return f"{name}[{draw}]" if name in inputs else name


def _loss(value: Tensor, cotangent: Tensor | None) -> float:
    """Return the loss; for a distance block, its inner product with the upstream gradient."""
    value = value.detach().double()
    return float(value if cotangent is None else (value * cotangent.double()).sum())
