"""Make the inputs of a Case from its seed, on the CPU, and move them to its device."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.cases import Case

SAMPLES_PER_CLASS = 4
CLUSTER_NOISE = 0.1
DRAWS = 3
OTHER_DRAW = 2
DIFFERENTIABLE = ("embeddings", "x0", "x1", "a", "b")


def make_inputs(case: Case, draw: int = 0) -> dict[str, Tensor]:
    """Return the inputs of a Case by name, in its dtype, on its device, without gradients.

    Args:
        case: case to make the inputs of.
        draw: number of the batch. Draw 2 has another kind of data. In odd draws the two samples of
            a pair are close together, so a hinge that is inactive in even draws is active.
    """
    case = replace(case, data=data_of(case, draw))
    generator = torch.Generator().manual_seed(1000 * case.seed + draw)
    inputs = INPUTS[impls.loss(case.loss).inputs](case, generator, draw)
    return {
        name: tensor.to(case.device, case.held_dtype if tensor.is_floating_point() else None)
        for name, tensor in inputs.items()
    }


def data_of(case: Case, draw: int) -> str:
    """Return the kind of data of a draw: the Case's own, but another kind in draw 2."""
    if draw != OTHER_DRAW:
        return case.data
    return "gaussian" if case.data == "clustered" else "clustered"


def _labelled(case: Case, generator: torch.Generator, _draw: int) -> dict[str, Tensor]:
    features, labels = BATCHES[case.data](case, generator)
    return {"embeddings": features, "labels": labels}


def _pairs(case: Case, generator: torch.Generator, draw: int) -> dict[str, Tensor]:
    x0, first = BATCHES[case.data](case, generator)
    x1, second = BATCHES[case.data](case, generator)
    if draw % 2:
        x1 = x0 + (x1 - x0) / (x1 - x0).norm()
    # Two random classes are seldom equal, so half of the pairs are called similar.
    same = torch.where(torch.arange(case.batch) % 2 == 0, 1, first == second)
    return {"x0": x0, "x1": x1, "same": same.to(x0.dtype)}


def _two_batches(case: Case, generator: torch.Generator, _draw: int) -> dict[str, Tensor]:
    return {name: BATCHES[case.data](case, generator)[0] for name in ("a", "b")}


def count_distinct_labels(case: Case) -> int:
    """Return how many classes the labels of a Case have, without making its inputs."""
    # As many images of each digit; a fixed number of samples a class otherwise.
    per_class = -(-case.batch // case.classes) if case.data == "digits" else SAMPLES_PER_CLASS
    wanted = max(-(-case.batch // per_class), min(2, case.batch))
    return min(wanted, case.classes)


def _balanced_labels(case: Case, generator: torch.Generator) -> Tensor:
    """Return labels ``[B]`` of P random classes with about K samples each (PK sampling)."""
    chosen = torch.randperm(case.classes, generator=generator)[: count_distinct_labels(case)]
    return chosen[torch.arange(case.batch) % len(chosen)]


def _gaussian(case: Case, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return standard normal features, and labels that are independent of them."""
    features = torch.randn(case.batch, case.dim, generator=generator, dtype=torch.float64)
    return features, _balanced_labels(case, generator)


def _clustered(case: Case, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return features in tight clusters, one per class, as late in training, and their labels."""
    labels = _balanced_labels(case, generator)
    present, index = torch.unique(labels, return_inverse=True)
    shape = (len(present), case.dim)
    centers = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(case.batch, case.dim, generator=generator, dtype=torch.float64)
    return centers[index] + CLUSTER_NOISE * noise, labels


@lru_cache(maxsize=1)
def _all_digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.data).double()
    return (pixels - pixels.mean()) / pixels.std(), torch.from_numpy(digits.target).long()


def _digits(case: Case, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images of handwritten digits and their labels.

    Pixels are standardised together. No image appears twice, and the classes are balanced.
    """
    pixels, targets = _all_digits()
    wanted = _balanced_labels(case, generator)
    order = torch.randperm(len(targets), generator=generator)
    rows = torch.empty(case.batch, dtype=torch.int64)
    for digit in set(wanted.tolist()):
        places = (wanted == digit).nonzero().squeeze(1)
        rows[places] = order[targets[order] == digit][: len(places)]
    return pixels[rows], wanted


BATCHES: Mapping[str, Callable[[Case, torch.Generator], tuple[Tensor, Tensor]]] = {
    "gaussian": _gaussian,
    "clustered": _clustered,
    "digits": _digits,
}
INPUTS: Mapping[str, Callable[[Case, torch.Generator, int], dict[str, Tensor]]] = {
    "labelled": _labelled,
    "pairs": _pairs,
    "rows": _two_batches,
    "arrays": _two_batches,
}
