"""Measure the loss's share of a training step, which limits the gain from a faster variant."""

from collections.abc import Callable, Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from lossbench import impls
from lossbench.bench.timing.clock import Timed
from lossbench.bench.timing.intervals import Interval
from lossbench.bench.timing.sampling import Sampling, interleave
from lossbench.bench.train.course import PLAIN, Walk
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.model import optimizer_of
from lossbench.impls.registry import REFERENCE

REST = "rest"


@dataclass(frozen=True)
class LossShare:
    """The loss's part of a training step.

    Attributes:
        loss_seconds: median time of the loss's forward and backward.
        rest_seconds: median time of the network, the optimizer and a softmax that is joined.
        share: share of the loss in the whole step, with its 95% interval.
    """

    loss_seconds: float
    rest_seconds: float
    share: Interval


def measure_shares(
    experiment: Experiment, variants: Sequence[str], budget_seconds: float
) -> dict[str, LossShare]:
    """Return the share of each variant, all timed in the same rounds, at the initial state.

    Raises:
        UsageError: if the images cannot be read.
    """
    walk = Walk(experiment, impls.implementation(experiment.loss, REFERENCE), PLAIN)
    images, labels = walk.batch()
    features = walk.model.network(images).detach()
    calls = {REST: Timed(_rest(experiment, walk, images, labels))}
    for variant in variants:
        calls[variant] = _loss(experiment, variant, features, labels)
    timings = interleave(calls, REST, Sampling(budget_seconds), experiment.device)
    rest = timings[REST].median_seconds
    shares = {}
    for variant in variants:
        ratio = timings[variant].speedup
        if ratio is None:
            raise AssertionError("the rest was timed in every round")
        shares[variant] = LossShare(
            timings[variant].median_seconds,
            rest,
            Interval(*(1 / (1 + r) for r in (ratio.median, ratio.high, ratio.low))),
        )
    return shares


def _rest(
    experiment: Experiment, walk: Walk, images: Tensor, labels: Tensor
) -> Callable[[], object]:
    """Return a step without the loss; a fixed gradient of the features replaces it."""
    model, optimizer = walk.model, optimizer_of(experiment, walk.model)
    for group in optimizer.param_groups:
        # A rate of 0 keeps the parameters, so every call computes the same.
        group["lr"] = 0.0
    model.objective(model.network(images), labels).backward()
    upstream = torch.full((len(images), 2), 1 / len(images), device=images.device)
    companion = model.objective.companion
    network = list(model.network.parameters())
    beside = [] if companion is None else list(companion.parameters())

    def rest() -> None:
        for parameter in (*network, *beside):
            parameter.grad = None
        features = model.network(images)
        outputs, gradients = [features], [upstream]
        if companion is not None:
            outputs.append(companion(features, labels).loss)
            gradients.append(torch.ones_like(outputs[-1]))
        torch.autograd.backward(outputs, gradients)
        optimizer.step()

    return rest


def _loss(experiment: Experiment, variant: str, features: Tensor, labels: Tensor) -> Timed:
    """Return the forward and backward of a variant alone; its state is reset before every call."""
    implementation = impls.implementation(experiment.loss, variant)
    objective = Walk(experiment, implementation, PLAIN).model.objective
    leaf = features.clone().requires_grad_()
    targets = [leaf, *(p for p in objective.loss.parameters() if p.requires_grad)]
    before = {name: t.detach().clone() for name, t in objective.loss.state_dict().items()}

    def step() -> object:
        return torch.autograd.grad(objective.output(leaf, labels)[0], targets, allow_unused=True)

    def reset() -> None:
        objective.loss.load_state_dict(before)

    return Timed(step, reset)
