"""Make the inputs of a Case from its seed, on the CPU, and move them to its device."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.cases import DIGITS_BATCH, DIGITS_CLASSES, Case
from lossbench.bench.case.draws import Draw, draw_of
from lossbench.bench.machine.libraries import import_sklearn

SAMPLES_PER_CLASS = 4
CLUSTER_NOISE = 0.1
DIGITS_PER_CLASS = DIGITS_BATCH // DIGITS_CLASSES
DIFFERENTIABLE = ("embeddings", "x0", "x1", "a", "b")


def make_inputs(case: Case, draw: int = 0) -> dict[str, Tensor]:
    """Return the inputs of a Case by name, in its dtype, on its device, without gradients.

    Args:
        case: case to make the inputs of.
        draw: number of the batch, from 0; its kind is ``draw_of(draw)``. Batches of one kind
            differ in their random numbers.
    """
    kind, generator = draw_of(draw), torch.Generator().manual_seed(1000 * case.seed + draw)
    case = replace(case, data=data_of(case, kind), batch=kind.rows(case.batch))
    inputs = INPUTS[impls.loss(case.loss).inputs](case, generator, kind)
    return {
        name: tensor.to(case.device, case.held_dtype if tensor.is_floating_point() else None)
        for name, tensor in inputs.items()
    }


def data_of(case: Case, kind: Draw) -> str:
    """Return the kind of data of a draw: the Case's own, or another."""
    if not kind.other_data:
        return case.data
    return "gaussian" if case.data == "clustered" else "clustered"


def _labelled(case: Case, generator: torch.Generator, kind: Draw) -> dict[str, Tensor]:
    features, labels = BATCHES[case.data](case, generator, kind)
    return {"embeddings": features, "labels": labels}


def _pairs(case: Case, generator: torch.Generator, kind: Draw) -> dict[str, Tensor]:
    x0, first = BATCHES[case.data](case, generator, kind)
    x1, second = BATCHES[case.data](case, generator, kind)
    if kind.close:
        x1 = x0 + (x1 - x0) / (x1 - x0).norm()
    # Two random classes are seldom equal, so about half of the pairs are called similar.
    same = (torch.rand(case.batch, generator=generator) < 0.5) | (first == second)
    # A batch of only similar or only dissimilar pairs would leave out one term of the loss.
    settled = torch.randperm(case.batch, generator=generator)[:2]
    same[settled] = torch.arange(len(settled)) == 0
    return {"x0": x0, "x1": x1, "same": same.to(x0.dtype)}


def _two_batches(case: Case, generator: torch.Generator, kind: Draw) -> dict[str, Tensor]:
    return {name: BATCHES[case.data](case, generator, kind)[0] for name in ("a", "b")}


def count_distinct_labels(case: Case) -> int:
    """Return how many classes the timed labels of a Case have, without making its inputs."""
    # All digits, or as many classes as give a fixed number of samples a class on average.
    per_class = -(-case.batch // case.classes) if case.data == "digits" else SAMPLES_PER_CLASS
    wanted = max(-(-case.batch // per_class), min(2, case.batch))
    return min(wanted, case.classes)


def _draw_labels(case: Case, generator: torch.Generator, kind: Draw) -> Tensor:
    """Return labels ``[B]`` in random order, with the first and last class and unequal counts."""
    distinct = count_distinct_labels(case)
    if kind.rare:
        enough = -(-case.batch // DIGITS_PER_CLASS) if case.data == "digits" else 1
        distinct = max(distinct - distinct // 3, min(enough, distinct))
    inner = 1 + torch.randperm(max(case.classes - 2, 0), generator=generator)
    ends = torch.tensor([0, case.classes - 1])[: min(2, case.classes)]
    chosen = torch.cat([ends, inner])[:distinct]
    chosen = chosen[torch.randperm(distinct, generator=generator)]
    most = DIGITS_PER_CLASS if case.data == "digits" else case.batch
    labels = chosen.repeat_interleave(_counts(case.batch, distinct, most, kind))
    return labels[torch.randperm(case.batch, generator=generator)]


def _counts(batch: int, classes: int, most: int, kind: Draw) -> Tensor:
    """Return the number of samples of each class: an even rise from a few to many.

    A sample of a class of its own has no positive, as in no sampler of triplets. Only rare draws
    have one, since it makes the reference less exact, and so widens the budget of its draw.

    Args:
        batch: number of samples.
        classes: number of classes.
        most: largest number of samples of a class.
        kind: kind of the draw.
    """
    mean = batch / classes
    fewest = min(1 if kind.rare else 2, mean)
    high = min(2 * mean - fewest, most)
    rise = torch.linspace(2 * mean - high, high, classes, dtype=torch.float64)
    ends = rise.cumsum(0).round().long()
    # The rise begins at its lower end also for a single class, which has the whole batch.
    ends[-1] = batch
    return ends.diff(prepend=ends.new_zeros(1))


def _gaussian(case: Case, generator: torch.Generator, kind: Draw) -> tuple[Tensor, Tensor]:
    """Return standard normal features, and labels that are independent of them."""
    features = torch.randn(case.batch, case.dim, generator=generator, dtype=torch.float64)
    return features, _draw_labels(case, generator, kind)


def _clustered(case: Case, generator: torch.Generator, kind: Draw) -> tuple[Tensor, Tensor]:
    """Return features in tight clusters, one per class, as late in training, and their labels."""
    labels = _draw_labels(case, generator, kind)
    present, index = torch.unique(labels, return_inverse=True)
    shape = (len(present), case.dim)
    centers = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(case.batch, case.dim, generator=generator, dtype=torch.float64)
    return centers[index] + CLUSTER_NOISE * noise, labels


@lru_cache(maxsize=1)
def _all_digits() -> tuple[Tensor, Tensor]:
    import_sklearn()
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.data).double()
    return (pixels - pixels.mean()) / pixels.std(), torch.from_numpy(digits.target).long()


def _digits(case: Case, generator: torch.Generator, kind: Draw) -> tuple[Tensor, Tensor]:
    """Return images of handwritten digits and their labels.

    Pixels are standardised together. No image appears twice.
    """
    pixels, targets = _all_digits()
    wanted = _draw_labels(case, generator, kind)
    order = torch.randperm(len(targets), generator=generator)
    rows = torch.empty(case.batch, dtype=torch.int64)
    for digit in set(wanted.tolist()):
        places = (wanted == digit).nonzero().squeeze(1)
        rows[places] = order[targets[order] == digit][: len(places)]
    return pixels[rows], wanted


BATCHES: Mapping[str, Callable[[Case, torch.Generator, Draw], tuple[Tensor, Tensor]]] = {
    "gaussian": _gaussian,
    "clustered": _clustered,
    "digits": _digits,
}
INPUTS: Mapping[str, Callable[[Case, torch.Generator, Draw], dict[str, Tensor]]] = {
    "labelled": _labelled,
    "pairs": _pairs,
    "rows": _two_batches,
    "arrays": _two_batches,
}
