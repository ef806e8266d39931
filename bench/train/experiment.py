"""What is asked of a training, and the model, batches and rates that follow from it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

import impls
from bench.errors import UsageError
from bench.train.data import CLASSES, Dataset, load
from bench.train.networks import FEATURES, NETWORKS
from bench.train.recipes import Recipe, recipe_of
from bench.workload import FEATURE_AXES

MOMENTUM = 0.9
COMPANION = "softmax"


@dataclass(frozen=True)
class Experiment:
    """One loss, trained by stochastic gradient descent with momentum 0.9, in float32.

    Attributes:
        loss: its name.
        source: of the images: ``digits``, or the folder of MNIST's files.
        network: its name.
        epochs: how often each image is seen.
        batch: B.
        rate: the learning rate; ``None`` for the recipe's.
        center_rate: of the loss's centres; ``None`` for the recipe's.
        seed: of the initial state and the batches.
        device: ``cpu`` or ``cuda``.
    """

    loss: str
    source: str = "digits"
    network: str = "lenet"
    epochs: int = 20
    batch: int = 64
    rate: float | None = None
    center_rate: float | None = None
    seed: int = 0
    device: str = "cpu"

    @property
    def recipe(self) -> Recipe:
        """How its loss is trained."""
        return recipe_of(self.loss)

    @property
    def learning_rate(self) -> float:
        """The learning rate of everything but the loss's centres."""
        return self.recipe.rate if self.rate is None else self.rate

    @property
    def pairs(self) -> bool:
        """Whether its loss takes pairs: the first half of a batch with the second."""
        return impls.loss(self.loss).inputs == "pairs"

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that its implementations are built with."""
        sizes = {"num_classes": CLASSES, "embedding_dim": FEATURES, "batch_size": self.batch}
        known = impls.loss(self.loss).arguments
        return {name: sizes[name] for name in known if name in sizes} | dict(self.recipe.arguments)

    def dataset(self) -> Dataset:
        """Return the images, on the device.

        Raises:
            UsageError: where they cannot be read, or are fewer than a batch.
        """
        dataset = load(self.source, self.device)
        if self.batch > len(dataset.train.labels):
            raise UsageError(
                f"batch must be at most {len(dataset.train.labels)}, the number of training "
                f"images; got {self.batch}"
            )
        return dataset


class Objective(nn.Module):
    """What is minimised: an implementation of the loss, with softmax beside it where it is joined.

    Args:
        experiment: whose loss and recipe.
        loss: the implementation, built.
    """

    def __init__(self, experiment: Experiment, loss: nn.Module) -> None:
        super().__init__()
        recipe = experiment.recipe
        self.pairs = experiment.pairs
        self.factor = recipe.weight / (experiment.batch if recipe.summed else 1)
        self.loss = loss
        self.companion = None
        if recipe.joined:
            softmax = impls.implementation(COMPANION, "reference")
            self.companion = softmax.build(num_classes=CLASSES, embedding_dim=FEATURES)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the objective of ``features [B, 2]`` and ``labels [B]``, 0-d."""
        value: Tensor = self.factor * self.output(features, labels)[0]
        if self.companion is not None:
            value = value + self.companion(features, labels).loss
        return value

    def output(self, features: Tensor, labels: Tensor) -> Any:
        """Return the named tuple that the loss alone gives."""
        if not self.pairs:
            return self.loss(embeddings=features, labels=labels)
        (x0, x1), (first, second) = features.chunk(2), labels.chunk(2)
        return self.loss(x0=x0, x1=x1, same=(first == second).to(features.dtype))


class Model(nn.Module):
    """A network and its objective."""

    def __init__(self, experiment: Experiment, implementation: impls.Implementation) -> None:
        super().__init__()
        side = experiment.dataset().side
        # Drawn in this order from one seed, and a loss's state is the reference's in any variant.
        torch.manual_seed(experiment.seed)
        self.network = NETWORKS[experiment.network](side)
        loss = implementation.build(**experiment.arguments)
        torch.manual_seed(experiment.seed)
        self.objective = Objective(experiment, loss)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the objective of ``images [B, 1, H, W]`` and ``labels [B]``, 0-d."""
        value: Tensor = self.objective(self.network(images), labels)
        return value


def mirrored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's state with the features in reverse: it computes the same, but for rounding.

    Args:
        state: of a ``Model``, by name.
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
    """Return the optimizer: the loss's centres, whose gradient may be sparse, have no momentum."""
    rates = (experiment.center_rate, experiment.recipe.center_rate, experiment.learning_rate)
    center_rate = next(rate for rate in rates if rate is not None)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    centers = [p for name, p in named.items() if name.endswith(".centers")]
    others = [p for name, p in named.items() if not name.endswith(".centers")]
    groups: list[dict[str, Any]] = [{"params": others, "momentum": MOMENTUM}]
    if centers:
        groups.append({"params": centers, "lr": center_rate, "momentum": 0.0})
    return torch.optim.SGD(groups, lr=experiment.learning_rate)


def schedule(experiment: Experiment) -> Tensor:
    """Return which images each step sees, ``[steps, B]``; of pairs B is rounded down to even.

    An epoch is a random order of the images, its last incomplete batch left out. Of pairs the first
    half of a batch is drawn so; the second is drawn anew, by turns of the same and another class.
    """
    labels = experiment.dataset().train.labels.cpu()
    generator = torch.Generator().manual_seed(experiment.seed)
    step = experiment.batch // 2 if experiment.pairs else experiment.batch
    count = len(labels) // experiment.batch
    orders = [torch.randperm(len(labels), generator=generator) for _ in range(experiment.epochs)]
    rows = torch.cat([order[: count * step].view(count, step) for order in orders])
    if not experiment.pairs:
        return rows
    return torch.cat([rows, _partners(rows, labels, generator)], dim=1)


def _partners(rows: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return a partner for each image, ``[steps, B/2]``: in even places one of its own class."""
    of_class = [(labels == c).nonzero().squeeze(1) for c in range(CLASSES)]
    same = torch.arange(rows.size(1)) % 2 == 0
    shift = torch.randint(1, CLASSES, rows.shape, generator=generator)
    wanted = torch.where(same, labels[rows], (labels[rows] + shift) % CLASSES)
    luck = torch.rand(rows.shape, generator=generator)
    partners = torch.empty_like(rows)
    for digit, members in enumerate(of_class):
        places = wanted == digit
        partners[places] = members[(luck[places] * len(members)).long()]
    return partners


@contextmanager
def deterministic() -> Iterator[None]:
    """Have torch compute the same at every call, and in full float32, for as long as it lasts."""
    # cuBLAS reads it when a process first calls it, and torch asks for it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
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
