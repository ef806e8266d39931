"""Base classes with the parameters and buffers of the Losses; ``moving`` has centres that move.

The names and shapes are those of the catalogue. The values are not set here, because
``Implementation.build`` loads the reference's initial state.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.scores import cosines, max_norm_products, products, projections
from lossbench.impls.tracing import is_exporting


class ClassWeights(nn.Module):
    """A module with one weight column per class, ``weight [D, C]``.

    Attributes:
        options: the options of its cross-entropy; ``build`` sets those that are not the defaults.
    """

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels, ``[B, C]``."""
        return products(embeddings, self.weight)


class MaxNormWeights(ClassWeights):
    """Class weights of length 1, by a max-norm."""

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels, ``[B, C]``."""
        return max_norm_products(embeddings, self.weight)


class CosineWeights(ClassWeights):
    """Class weights under a scale.

    Attributes:
        scale: the factor s of all cosines.
    """

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.scale = scale

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels or margin, ``[B, C]``."""
        return cosines(embeddings, self.weight, self.scale)


class ArcFaceWeights(CosineWeights):
    """Class weights under a scale and an additive angular margin.

    Attributes:
        cos_m: ``cos m``.
        sin_m: ``sin m``.
        lowest_cosine: the cosine at ``θ = π - m``; below it the guarded form leaves ``cos(θ + m)``.
        drop: the amount that the guarded form subtracts from such a cosine.
    """

    def __init__(self, num_classes: int, embedding_dim: int, scale: float, margin: float) -> None:
        super().__init__(num_classes, embedding_dim, scale)
        self.cos_m = math.cos(margin)
        self.sin_m = math.sin(margin)
        self.lowest_cosine = math.cos(math.pi - margin)
        self.drop = margin * math.sin(math.pi - margin)


class SphereFaceWeights(ClassWeights):
    """Class weights under a multiplicative margin, and the buffer that anneals it."""

    iteration: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        margin: int,
        lambda_min: float,
        lambda_max: float,
        gamma: float,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.margin = margin
        self.lambda_min = lambda_min
        self.lambda_max = lambda_max
        self.gamma = gamma
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def _count(self) -> Tensor:
        """Count a call, and return the number of calls, 0-d int64."""
        if _compiles_backward():
            # A compiled backward pass reads the counter again, so it must not change in place.
            self.iteration = self.iteration + 1
        else:
            # A new counter made in inference mode could not be used in training, so: in place.
            self.iteration += 1
        return self.iteration

    def _anneal(self) -> Tensor:
        """Count a call and return its λ, without synchronisation of the device."""
        count = self._count()
        # float64 represents the counter exactly; a 0-d tensor does not promote the products.
        return (self.lambda_max / (1 + 0.2 * count.double())).clamp(min=self.lambda_min)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels or margin, ``[B, C]``."""
        return projections(embeddings, self.weight)


class ClassCenters(nn.Module):
    """A module with one centre per class, ``centers [C, D]``."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.empty(num_classes, embedding_dim))


class SparseRows(nn.Embedding):
    """A base class that tells DistributedDataParallel to expect sparse gradients.

    DistributedDataParallel asks only instances of ``nn.Embedding`` and ``nn.EmbeddingBag``. Nothing
    else of that class is used.
    """

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.sparse = True

    def extra_repr(self) -> str:
        """Return nothing: the sizes that an embedding shows are not set."""
        return ""


def sparse_limits(when: str = "") -> Mapping[str, str]:
    """Return the limits of a sparse gradient, under a condition that begins with a space."""
    return {
        "optimizers": f"its gradient is sparse{when}, as that of nn.Embedding(sparse=True): SGD "
        "without weight decay, Adagrad and SparseAdam take it; others and clip_grad_norm_ do not",
        "fsdp": f"its gradient is sparse{when}: fully_shard reduces dense ones alone",
    }


class IslandCenters(ClassCenters):
    """Class centres, and the weights of the two terms of the island loss."""

    def __init__(
        self, num_classes: int, embedding_dim: int, island_weight: float, batch_size: int
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.island_weight = island_weight
        self.batch_size = batch_size


class CentersAndWeights(ClassCenters):
    """Class centres that follow their gradient, and class weights beside them."""

    def __init__(self, num_classes: int, embedding_dim: int, center_weight: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.options = EntropyOptions()
        self.center_weight = center_weight
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels, ``[B, C]``."""
        return products(embeddings, self.weight)


def _compiles_backward() -> bool:
    return torch.compiler.is_compiling() and not is_exporting() and torch.is_grad_enabled()
