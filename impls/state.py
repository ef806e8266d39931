"""The parameters that contenders share, under the names and shapes of the catalogue.

They are left unset: ``Implementation.build`` fills them with the reference's initial state.
"""

import torch
from torch import nn


class ClassWeights(nn.Module):
    """A module with one weight column a class, ``weight [D, C]``."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))


class ClassCenters(nn.Module):
    """A module with one centre a class, ``centers [C, D]``."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.empty(num_classes, embedding_dim))
