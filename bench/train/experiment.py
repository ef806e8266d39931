"""The settings of a training: its loss, images, network, rates and seed."""

from typing import Any

from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.errors import UsageError
from lossbench.bench.train.data import IMAGE_CLASSES, Dataset, load_images
from lossbench.bench.train.networks import FEATURES
from lossbench.bench.train.recipes import Recipe, recipe_of


@dataclass(frozen=True)
class Experiment:
    """One loss, trained by stochastic gradient descent with momentum 0.9, in float32.

    Attributes:
        loss: name of the loss.
        source: images to train on: ``digits``, or the folder with MNIST's files.
        network: name of the network.
        epochs: number of passes over the training images.
        batch: batch size B.
        rate: learning rate; ``None`` for the recipe's.
        center_rate: learning rate of the loss's centres; ``None`` for the recipe's.
        seed: seed of the initial state and of the batches.
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
        """The recipe by which the loss is trained."""
        return recipe_of(self.loss)

    @property
    def learning_rate(self) -> float:
        """The learning rate of everything but the loss's centres."""
        return self.recipe.rate if self.rate is None else self.rate

    @property
    def center_learning_rate(self) -> float:
        """The learning rate of the loss's centres."""
        rates = (self.center_rate, self.recipe.center_rate, self.learning_rate)
        return next(rate for rate in rates if rate is not None)

    @property
    def pairs(self) -> bool:
        """Whether the loss takes pairs: the first half of a batch with the second."""
        return impls.loss(self.loss).inputs == "pairs"

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments to build an implementation of the loss with."""
        sizes = {"num_classes": IMAGE_CLASSES, "embedding_dim": FEATURES, "batch_size": self.batch}
        known = impls.loss(self.loss).arguments
        return {name: sizes[name] for name in known if name in sizes} | dict(self.recipe.arguments)

    def dataset(self) -> Dataset:
        """Return the images, on the device.

        Raises:
            UsageError: if they cannot be read, or are fewer than one batch.
        """
        dataset = load_images(self.source, self.device)
        if self.batch > len(dataset.train.labels):
            raise UsageError(
                f"batch must be at most {len(dataset.train.labels)}, the number of training "
                f"images; got {self.batch}"
            )
        return dataset
