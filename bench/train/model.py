"""The model of an experiment: network, objective and optimizer."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.workload import FEATURE_AXES
from lossbench.bench.machine.libraries import import_sklearn
from lossbench.bench.train.data import IMAGE_CLASSES
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.networks import FEATURES, NETWORKS
from lossbench.impls.registry import REFERENCE

MOMENTUM = 0.9
COMPANION = "softmax"
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class Objective(nn.Module):
    """The function to minimise: the loss times its weight, plus softmax if the recipe joins it.

    Args:
        experiment: the experiment with the recipe of the loss.
        loss: a built implementation of the loss.
    """

    def __init__(self, experiment: Experiment, loss: nn.Module) -> None:
        super().__init__()
        recipe = experiment.recipe
        self.pairs = experiment.pairs
        self.factor = recipe.weight / (experiment.batch if recipe.summed else 1)
        self.loss = loss
        self.companion = None
        if recipe.joined:
            softmax = impls.implementation(COMPANION, REFERENCE)
            self.companion = softmax.build(num_classes=IMAGE_CLASSES, embedding_dim=FEATURES)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the objective of ``features [B, 2]`` and ``labels [B]``, 0-d."""
        value: Tensor = self.factor * self.output(features, labels)[0]
        if self.companion is not None:
            value = value + self.companion(features, labels).loss
        return value

    def output(self, features: Tensor, labels: Tensor) -> Any:
        """Return the named tuple of the loss alone."""
        if not self.pairs:
            return self.loss(embeddings=features, labels=labels)
        (x0, x1), (first, second) = features.chunk(2), labels.chunk(2)
        return self.loss(x0=x0, x1=x1, same=(first == second).to(features.dtype))


class Model(nn.Module):
    """A network and its objective."""

    def __init__(self, experiment: Experiment, implementation: impls.Implementation) -> None:
        super().__init__()
        side = experiment.dataset().side
        # Every variant draws the same state as the reference, so one seed gives one initial model.
        torch.manual_seed(experiment.seed)
        self.network = NETWORKS[experiment.network](side)
        loss = implementation.build(**experiment.arguments)
        torch.manual_seed(experiment.seed)
        self.objective = Objective(experiment, loss)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the objective of ``images [B, 1, H, W]`` and ``labels [B]``, 0-d."""
        value: Tensor = self.objective(self.network(images), labels)
        return value


def mirrored_images(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's state with the features in reverse order; only its rounding changes.

    Args:
        state: state of a ``Model``, by name.
    """
    axes = {
        f"{part}.{name}": axis
        for part in ("objective.loss", "objective.companion")
        for name, axis in FEATURE_AXES.items()
    } | {"network.features.weight": 0, "network.features.bias": 0}
    return {
        name: tensor.flip(axes[name]) if name in axes else tensor for name, tensor in state.items()
    }


def optimizer_of(experiment: Experiment, model: Model) -> torch.optim.SGD:
    """Return the optimizer: SGD with momentum for all parameters but the loss's centres.

    The gradient of the centres may be sparse, so they get no momentum.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    centers = [p for name, p in named.items() if name.endswith(".centers")]
    others = [p for name, p in named.items() if not name.endswith(".centers")]
    groups: list[dict[str, Any]] = [{"params": others, "momentum": MOMENTUM}]
    if centers:
        rate = experiment.center_learning_rate
        groups.append({"params": centers, "lr": rate, "momentum": 0.0})
    return torch.optim.SGD(groups, lr=experiment.learning_rate)


@contextmanager
def deterministic() -> Iterator[None]:
    """Make torch deterministic, without TF32 in cuDNN, and restore all of it afterwards."""
    # Before the changes below, which the guard would take for a contender's.
    import_sklearn()
    # torch requires this variable, and cuBLAS reads it at its first call in a process.
    workspace = os.environ.get(CUBLAS_WORKSPACE)
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with (
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
            torch.random.fork_rng(),
        ):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        # The worker's guard refuses a training that leaves the process changed.
        if workspace is None:
            del os.environ[CUBLAS_WORKSPACE]
