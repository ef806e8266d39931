"""pytorch-metric-learning 2.9.0: its losses, with arguments that make them equal the documents'.

By default it normalises embeddings and averages over the terms that are not zero; both are turned
off here if the Loss does neither. Its statistics are off by default and stay off.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndCorrect, LossAndLogits, LossOnly
from lossbench.impls.registry import register
from lossbench.impls.scores import cosines, max_norm_products, projections
from lossbench.impls.state import ClassWeights

REQUIRES = ("pytorch_metric_learning",)
NO_LOGITS = ("logits",)
Scores = Callable[[Tensor, Tensor], Tensor]
# Its distances use torch.cdist, except for float16, where it computes pair by pair.
ALL_BUT_BFLOAT16 = (torch.float16, torch.float32, torch.float64)


class Classifier(ClassWeights):
    """A loss of the library over class weights, computed with this module's weights.

    The library keeps its weights as a parameter ``W [D, C]``; this is deleted, and the library sees
    ``weight`` under that name. The library's module is kept in a tuple, so that it is not a
    submodule, and is built with an initialiser that draws no random number.

    Args:
        num_classes: the number of classes, C.
        embedding_dim: the length of an embedding, D.
        criterion: the library's loss.
        scores: the function of embeddings and weights that gives the logits of inference.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, criterion: Any, scores: Scores
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        del criterion.W
        self._criterion = (criterion,)
        self._scores = scores

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels or margin, ``[B, C]``."""
        return self._scores(embeddings, self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss; the library does not return its logits."""
        (criterion,) = self._criterion
        # A user may replace the parameter, so it is set at each call; nn.Module's own method would
        # register it.
        object.__setattr__(criterion, "W", self.weight)
        return LossAndLogits(criterion(embeddings, labels.long()), None)


class AnnealedClassifier(Classifier):
    """A classifier that counts its calls as SphereFace does, but does not use the count."""

    iteration: Tensor

    def __init__(self, num_classes: int, embedding_dim: int, criterion: Any) -> None:
        super().__init__(num_classes, embedding_dim, criterion, projections)
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and count the call."""
        self.iteration += 1
        return super().forward(embeddings, labels)


# The library divides by ‖w‖ and not by ‖w‖ + 1e-7, a difference that float64 shows.
@register(
    "modified_softmax",
    "pml",
    requires=REQUIRES,
    leaves_out=NO_LOGITS,
    dtypes=(torch.float16, torch.bfloat16, torch.float32),
)
def modified_softmax(num_classes: int, embedding_dim: int) -> nn.Module:
    """``NormalizedSoftmaxLoss`` over embeddings that keep their length, without a temperature."""
    from pytorch_metric_learning.distances import DotProductSimilarity
    from pytorch_metric_learning.losses import NormalizedSoftmaxLoss

    criterion = NormalizedSoftmaxLoss(
        num_classes,
        embedding_dim,
        temperature=1,
        distance=DotProductSimilarity(normalize_embeddings=False),
        weight_init_func=nn.init.zeros_,
    )
    return Classifier(num_classes, embedding_dim, criterion, max_norm_products)


@register("normface", "pml", requires=REQUIRES, leaves_out=NO_LOGITS)
def normface(num_classes: int, embedding_dim: int, scale: float) -> nn.Module:
    """``NormalizedSoftmaxLoss`` with temperature 1 / s."""
    from pytorch_metric_learning.losses import NormalizedSoftmaxLoss

    temperature = 1 / scale if scale else math.inf
    criterion = NormalizedSoftmaxLoss(
        num_classes, embedding_dim, temperature=temperature, weight_init_func=nn.init.zeros_
    )
    return Classifier(num_classes, embedding_dim, criterion, partial(cosines, scale=scale))


@register(
    "sphereface",
    "pml",
    requires=REQUIRES,
    leaves_out=NO_LOGITS,
    limits={"arguments": "takes a margin from 1 to 5 and gamma 0"},
    departs="has no annealing: ψ(θ) alone, the document's loss at λ = 0 (lambda_min=lambda_max=0)",
)
def sphereface(
    num_classes: int,
    embedding_dim: int,
    margin: int,
    lambda_min: float,  # noqa: ARG001
    lambda_max: float,  # noqa: ARG001
    gamma: float,
) -> nn.Module:
    """``SphereFaceLoss`` with scale 1, which keeps the embeddings' length.

    It ignores ``lambda_min`` and ``lambda_max``, as its ``departs`` says.

    Raises:
        ValueError: if ``margin`` or ``gamma`` has a value that the library does not support.
    """
    import warnings

    from pytorch_metric_learning.losses import SphereFaceLoss

    if margin < 1 or gamma != 0:
        raise ValueError(
            f"sphereface: pml takes a margin from 1 to 5 and gamma 0, got {margin} and {gamma}"
        )
    with warnings.catch_warnings():
        # NumPy warns of the tensors that the library passes to SciPy's binomials.
        warnings.simplefilter("ignore", DeprecationWarning)
        criterion = SphereFaceLoss(
            num_classes, embedding_dim, margin=margin, scale=1, weight_init_func=nn.init.zeros_
        )
    return AnnealedClassifier(num_classes, embedding_dim, criterion)


@register("arcface_guarded", "pml", requires=REQUIRES, leaves_out=NO_LOGITS)
@register(
    "arcface",
    "pml",
    requires=REQUIRES,
    leaves_out=NO_LOGITS,
    departs="has the guard that the document comments out: equal up to θ = π - m, not beyond",
)
def arcface(num_classes: int, embedding_dim: int, scale: float, margin: float) -> nn.Module:
    """``ArcFaceLoss``, with its margin in degrees.

    Its arccos has no gradient at a cosine of ±1. If one sample's cosine to the weight of its class
    rounds to 1, which happens when training in two dimensions, the gradients of its embedding and
    of its class become NaN.
    """
    from pytorch_metric_learning.losses import ArcFaceLoss

    criterion = ArcFaceLoss(
        num_classes,
        embedding_dim,
        margin=math.degrees(margin),
        scale=scale,
        weight_init_func=nn.init.zeros_,
    )
    return Classifier(num_classes, embedding_dim, criterion, partial(cosines, scale=scale))


class MinedTriplets(nn.Module):
    """The criterion over the miner's triplets, with equal weight for each anchor."""

    def __init__(self, miner: Any, criterion: Any) -> None:
        super().__init__()
        self.miner = miner
        self.criterion = criterion

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss; the miner does not return its distances."""
        labels = labels.long()
        triplets = self.miner(embeddings, labels)
        return LossAndCorrect(self.criterion(embeddings, labels, triplets), None)


@register(
    "triplet_batch_hard",
    "pml",
    requires=REQUIRES,
    leaves_out=("correct",),
    dtypes=ALL_BUT_BFLOAT16,
    departs="has no anchor where a class has one sample: equal where each has two or more",
)
def triplet_batch_hard(margin: float) -> nn.Module:
    """``TripletMarginLoss`` on the triplets of ``BatchHardMiner``.

    The miner drops an anchor that is the only sample of its class, so the loss is equal only for
    batches without such an anchor.
    """
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=False)
    criterion = TripletMarginLoss(margin=margin, distance=distance, reducer=MeanReducer())
    return MinedTriplets(BatchHardMiner(distance=distance), criterion)


class Pairs(nn.Module):
    """The mean of the criterion over given pairs, ``x0_i`` and ``x1_i``."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        # The library ignores a single pair, so with fewer than three pairs each is passed twice.
        times = 2 if len(x0) < 3 else 1
        similar = same.bool().expand(len(x0)).repeat(times)
        rows = torch.arange(len(x0), device=x0.device).repeat(times)
        alike, unlike = rows[similar], rows[~similar]
        pairs = (alike, alike, unlike, unlike)
        total = self.criterion(x0, indices_tuple=pairs, ref_emb=x1)
        return LossOnly(total / (times * len(x0)))


def similar_term(distance: Tensor, _margin: float) -> Tensor:
    """Return ``½ d²`` of each similar pair."""
    return distance.square() / 2


def dissimilar_term(distance: Tensor, margin: float) -> Tensor:
    """Return ``½ max(0, m - d)²`` of each dissimilar pair."""
    return F.relu(margin - distance).square() / 2


@register("contrastive", "pml", requires=REQUIRES, dtypes=ALL_BUT_BFLOAT16)
def contrastive(margin: float) -> nn.Module:
    """``ContrastiveLoss`` with its two terms squared, halved and summed.

    It reads the pairs' distances from the matrix ``[B, B]`` of all, with the rounding of that.
    """
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import ContrastiveLoss
    from pytorch_metric_learning.reducers import SumReducer

    criterion = ContrastiveLoss(
        neg_margin=margin,
        distance=LpDistance(normalize_embeddings=False),
        reducer=SumReducer(),
    )
    criterion.pos_calc, criterion.neg_calc = similar_term, dissimilar_term
    return Pairs(criterion)
