"""Which images each step of a training sees."""

import torch
from torch import Tensor

from lossbench.bench.train.data import IMAGE_CLASSES
from lossbench.bench.train.experiment import Experiment


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
