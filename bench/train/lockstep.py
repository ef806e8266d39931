"""Find out whether a variant's curve parts because of a fault, or because of amplified rounding.

At each step of the reference's training, the variant gets the reference's features and state. Its
results are compared with the reference in float64. So errors do not add up from step to step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.workload import dense, mirrored
from lossbench.bench.measure.agreement import FACTOR, rounding_band
from lossbench.bench.measure.deviation import relative_error
from lossbench.bench.train.course import Walk
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.model import Objective, deterministic
from lossbench.impls.registry import REFERENCE


@checked_dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Fault:
    """The first wrong result of a variant, computed from the reference's features and state.

    Attributes:
        step: number of the step, from 0.
        quantity: wrong quantity: ``loss``, ``grad.features``, ``grad.weight``, ``after.centers``...
        error: relative error against the reference in float64.
        allowed: largest error that the reference's own rounding explains, up to that step.
    """

    step: int
    quantity: str
    error: float
    allowed: float


@dataclass(frozen=True)
class Moment:
    """The inputs and the state of the loss at one step of the reference's training.

    Attributes:
        features: features of the batch, ``[B, 2]``.
        labels: labels of the batch, ``[B]``.
        state: state of the loss before the step.
    """

    features: Tensor
    labels: Tensor
    state: Mapping[str, Tensor]

    def mirrored(self) -> "Moment":
        """Return the moment with the features in reverse order."""
        state = {name: mirrored(name, tensor) for name, tensor in self.state.items()}
        return Moment(self.features.flip(1), self.labels, state)


def first_fault(
    experiment: Experiment, implementation: impls.Implementation, steps: int
) -> Fault | None:
    """Return the first fault of an implementation in the first steps of the reference's training.

    Args:
        experiment: the experiment to train.
        implementation: the implementation to check.
        steps: number of steps to check.
    """
    with deterministic():
        reference = impls.implementation(experiment.loss, REFERENCE)
        exact, own, given = (
            Objective(experiment, entry.build(**experiment.arguments)).to(experiment.device, dtype)
            for entry, dtype in (
                (reference, torch.float64),
                (reference, torch.float32),
                (implementation, torch.float32),
            )
        )
        largest: dict[str, float] = {}
        for step, moment in enumerate(_moments(experiment, steps)):
            truth = _outcome(exact, moment, torch.float64)
            turned = _outcome(own, moment.mirrored())
            straight = _outcome(own, moment)
            found = _outcome(given, moment)
            for name, value in truth.items():
                last = name.split(".")[-1]
                back = mirrored("embeddings" if last == "features" else last, turned[name])
                errors = (relative_error(x, value) for x in (back, straight[name]))
                largest[name] = max(largest.get(name, 0.0), *errors)
                error = relative_error(found[name], value)
                allowed = FACTOR * largest[name] + rounding_band(torch.float32)
                if error > allowed:
                    return Fault(step, name, error, allowed)
    return None


def _moments(experiment: Experiment, steps: int) -> Iterator[Moment]:
    walk = Walk(experiment, impls.implementation(experiment.loss, REFERENCE))
    seen: list[Tensor] = []
    walk.model.network.register_forward_hook(lambda *call: seen.append(call[-1].detach()))
    for _ in range(steps):
        state = walk.model.objective.loss.state_dict()
        copied = {name: tensor.detach().clone() for name, tensor in state.items()}
        _, labels = walk.batch()
        walk.step()
        yield Moment(seen.pop(), labels, copied)


def _outcome(
    objective: Objective, moment: Moment, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Return the loss, its gradients and its state after the call, by name."""
    module = objective.loss
    module.load_state_dict(dict(moment.state))
    features = moment.features.to(dtype, copy=True).requires_grad_()
    targets = {"features": features} | dict(module.named_parameters())
    loss = objective.output(features, moment.labels)[0]
    gradients = torch.autograd.grad(loss, list(targets.values()), allow_unused=True)
    return (
        {"loss": loss.detach()}
        | {
            f"grad.{name}": dense(gradient, target)
            for (name, target), gradient in zip(targets.items(), gradients, strict=True)
        }
        | {f"after.{name}": t.detach().clone() for name, t in module.state_dict().items()}
    )
