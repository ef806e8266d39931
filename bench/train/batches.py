"""Draw the batches of a training: the images of each step."""

import torch
from torch import Tensor

from lossbench.bench.train.data import IMAGE_CLASSES
from lossbench.bench.train.experiment import Experiment


def schedule(experiment: Experiment) -> Tensor:
    """Return the indices of the training images of each step, ``[steps, B]``.

    Each epoch takes the images in a new random order and drops the last incomplete batch. For a
    loss of pairs, B is rounded down to an even number. The first half of a batch then comes from
    that order; the second half holds a partner for each image, drawn at random, alternately from
    the same class and from another.
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
    """Return a partner for each image, ``[steps, B/2]``; in even places from the same class."""
    of_class = [(labels == c).nonzero().squeeze(1) for c in range(IMAGE_CLASSES)]
    same = torch.arange(rows.size(1)) % 2 == 0
    shift = torch.randint(1, IMAGE_CLASSES, rows.shape, generator=generator)
    wanted = torch.where(same, labels[rows], (labels[rows] + shift) % IMAGE_CLASSES)
    luck = torch.rand(rows.shape, generator=generator)
    partners = torch.empty_like(rows)
    for digit, members in enumerate(of_class):
        places = wanted == digit
        partners[places] = members[(luck[places] * len(members)).long()]
    return partners
