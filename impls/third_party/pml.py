"""pytorch-metric-learning 2.9.0: its losses, with the arguments that make them the documents'.

By default it normalises embeddings and averages over the terms that are not zero; both are undone
here wherever the Loss does neither. Its statistics are off by default and stay so.
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
# Its distances are torch.cdist's, but for float16, which it computes pair by pair.
ALL_BUT_BFLOAT16 = (torch.float16, torch.float32, torch.float64)


class Classifier(ClassWeights):
    """A loss of the library over class weights, computed with this module's.

    The library keeps its weights as a parameter ``W [D, C]``: here it is taken away, and the
    library sees ``weight`` under that name. It is held in a tuple, so as to be no submodule, and is
    built with an initialiser that draws no random number.

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
        """Return the loss; the library keeps its logits to itself."""
        (criterion,) = self._criterion
        # At each call, for whoever replaces the parameter; past Module, which would register it.
        object.__setattr__(criterion, "W", self.weight)
        return LossAndLogits(criterion(embeddings, labels.long()), None)


class AnnealedClassifier(Classifier):
    """A classifier that counts its calls as SphereFace does, and makes no use of the count."""

    iteration: Tensor

    def __init__(self, num_classes: int, embedding_dim: int, criterion: Any) -> None:
        super().__init__(num_classes, embedding_dim, criterion, projections)
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having counted the call."""
        self.iteration += 1
        return super().forward(embeddings, labels)


# Not in float64, where it would show that the library divides by ‖w‖ and not by ‖w‖ + 1e-7.
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
    """``NormalizedSoftmaxLoss``, whose temperature is 1 / s."""
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
    """``SphereFaceLoss`` of scale 1, which leaves the embeddings' length as it is.

    It takes no account of the λ, as its ``departs`` says, and refuses what else it has not.

    Raises:
        ValueError: where an argument asks for what the library has not.
    """
    import warnings

    from pytorch_metric_learning.losses import SphereFaceLoss

    if margin < 1 or gamma != 0:
        raise ValueError(
            f"sphereface: pml takes a margin from 1 to 5 and gamma 0, got {margin} and {gamma}"
        )
    with warnings.catch_warnings():
        # NumPy's, of the tensors that the library hands to SciPy's binomials.
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
    """``ArcFaceLoss``, whose margin is in degrees.

    Its arccos has no gradient at a cosine of ±1: one sample whose cosine to its class's weight
    rounds to 1, as training brings about in two dimensions, turns all of its embedding's and its
    class's gradients into NaN.
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
    """The miner's triplets under the criterion, every anchor counting alike."""

    def __init__(self, miner: Any, criterion: Any) -> None:
        super().__init__()
        self.miner = miner
        self.criterion = criterion

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss; the miner keeps its distances to itself."""
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

    The miner drops anchors without another sample of their class, so that it is equal only on
    batches where no class has a single one.
    """
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=False)
    criterion = TripletMarginLoss(margin=margin, distance=distance, reducer=MeanReducer())
    return MinedTriplets(BatchHardMiner(distance=distance), criterion)


class Pairs(nn.Module):
    """The criterion over given pairs, ``x0_i`` against ``x1_i``, as the mean over them."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        # The library takes a lone pair for none: where there may be one, each is given twice.
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
    """``ContrastiveLoss`` with its two terms squared and halved, and summed.

    It picks the pairs' distances from the ``[B, B]`` of all, and rounds as that does.
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
