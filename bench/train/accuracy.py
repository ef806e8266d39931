"""Evaluate a trained network: its features, and how accurately they separate the classes."""

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from lossbench import impls
from lossbench.bench.measure.trajectory import Path
from lossbench.bench.train.data import IMAGE_CLASSES
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.model import Model, deterministic
from lossbench.impls.registry import REFERENCE

CHUNK = 1024


@dataclass(frozen=True)
class Accuracy:
    """Shares of the test images that three classifiers assign to the right class.

    Attributes:
        logits: share by the largest product with the class weights, without a margin; for angular
            losses the weights have length 1; ``None`` where nothing has class weights.
        nearest_mean: share by the nearest class mean of the training features.
        nearest_neighbour: share by the nearest training feature.
    """

    logits: float | None
    nearest_mean: float
    nearest_neighbour: float


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Features:
    """The features of the test images, and the positions of the classes.

    Attributes:
        points: features of the test images, ``[N, 2]``.
        labels: labels of the test images, ``[N]``.
        means: mean of the training features of each class, ``[C, 2]``.
        centers: centres that the loss learned, ``[C, 2]``; empty for a loss without centres.
        weights: class weights, ``[C, 2]``; empty where nothing has class weights.
    """

    points: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    means: tuple[tuple[float, ...], ...]
    centers: tuple[tuple[float, ...], ...] = ()
    weights: tuple[tuple[float, ...], ...] = ()


def evaluate(experiment: Experiment, path: Path) -> tuple[Accuracy, Features]:
    """Return the accuracy and the features at the end of the reference's training."""
    with deterministic():
        model = Model(experiment, impls.implementation(experiment.loss, REFERENCE))
    model.load_state_dict(dict(path.ends))
    model.to(experiment.device).eval()
    dataset = experiment.dataset()
    train, test = (_features(model, part.images) for part in (dataset.train, dataset.test))
    labels, wanted = dataset.train.labels.cpu(), dataset.test.labels.cpu()
    means = torch.stack([train[labels == c].mean(0) for c in range(IMAGE_CLASSES)])
    state = {name: tensor.cpu() for name, tensor in path.ends.items()}
    own = state.get("objective.loss.weight", state.get("objective.companion.weight"))
    centers = state.get("objective.loss.centers")
    angular = experiment.recipe.angular
    features = Features(
        _rows(test),
        tuple(wanted.tolist()),
        _rows(means),
        () if centers is None else _rows(centers),
        () if own is None else _rows(own.t()),
    )
    accuracy = Accuracy(
        None if own is None else _by_logits(test, own, wanted, angular=angular),
        *_by_distance(train, labels, test, wanted, angular=angular),
    )
    return accuracy, features


@torch.no_grad()
def _features(model: Model, images: Tensor) -> Tensor:
    return torch.cat([model.network(part) for part in torch.split(images, CHUNK)]).cpu()


def _by_logits(features: Tensor, weight: Tensor, labels: Tensor, *, angular: bool) -> float:
    if angular:
        weight = torch.nn.functional.normalize(weight, dim=0)
    return _share(features.mm(weight).argmax(1), labels)


def _by_distance(
    train: Tensor, labels: Tensor, test: Tensor, wanted: Tensor, *, angular: bool
) -> tuple[float, float]:
    """Return the accuracy by the nearest class mean, and by the nearest neighbour.

    Where classes are separated by angle, the features are first scaled to length 1. Both
    accuracies are 0 if a feature is not finite.
    """
    from sklearn.neighbors import KNeighborsClassifier

    if not (train.isfinite().all() and test.isfinite().all()):
        return 0.0, 0.0
    if angular:
        train, test = (torch.nn.functional.normalize(x) for x in (train, test))
    means = torch.stack([train[labels == c].mean(0) for c in range(IMAGE_CLASSES)])
    by_mean = torch.cdist(test, means).argmin(1)
    neighbours = KNeighborsClassifier(1).fit(train.numpy(), labels.numpy())
    by_neighbour = torch.from_numpy(neighbours.predict(test.numpy()))
    return _share(by_mean, wanted), _share(by_neighbour, wanted)


def _share(predicted: Tensor, labels: Tensor) -> float:
    return float((predicted == labels).double().mean())


def _rows(points: Tensor) -> tuple[tuple[float, ...], ...]:
    """Return rows of numbers with six digits, which is more than a figure shows."""
    return tuple(tuple(float(f"{x:.6g}") for x in row) for row in points.tolist())
