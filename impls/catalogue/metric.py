"""Losses of documents 003 and 004 and of their papers, over the pairs and triplets of a batch."""

from lossbench.impls.catalogue.notes import IN_PLACE_PRODUCT, ROUNDED_SQUARES
from lossbench.impls.cost import Cost
from lossbench.impls.loss import Loss
from lossbench.reference.contrastive import Contrastive, ContrastiveWholeBatch
from lossbench.reference.outputs import LossAndCorrect, LossOnly
from lossbench.reference.triplet import TripletBatchHard, TripletWeighted, TripletWeightedUnshifted

ITSELF_POSITIVE = (
    "every anchor is one of its own positives, so the only sample of a class is an anchor too"
)

# A search tree can exclude most pairs of tight clusters, but reads every sample.
PRUNED = "B*D"
# The forward is half of a symmetric product, with the squares on its diagonal. The backward is a
# whole product, of the symmetric derivatives by the squared distances with the embeddings.
WEIGHTED = Cost(
    forward_flops="B*(B + 1)*D",
    step_flops="B*(B + 1)*D + 2*B*B*D",
    forward_elements="B*D",
    step_elements="3*B*D",
    pruned_flops=PRUNED,
)
# The forward is a difference and its square. The backward scales the difference for one side, and
# changes its sign for the other.
DIFFERENCES = Cost(
    forward_flops="3*B*D",
    step_flops="5*B*D",
    forward_elements="2*B*D",
    step_elements="6*B*D",
)

LOOPS = "refused by torch: it loops over the samples, so that each size of a batch is another graph"
ONE_CLASS = "a batch of only one class (or one sample) is refused: its anchors have no negative"

METRIC = (
    Loss(
        name="triplet_batch_hard",
        summary="triplet loss of each anchor's furthest positive and closest negative",
        formula="mean_i max(0, m + max_p d_ip - min_n d_in)",
        document="003 `OriTripletLoss`",
        paper="Hermans et al. 2017, In Defense of the Triplet Loss, arXiv 1703.07737, Eq. 5",
        reference=TripletBatchHard,
        inputs="labelled",
        output=LossAndCorrect,
        # The distances cost the same as above. The backward takes two differences per anchor and
        # their multiples. Each row then adds up its own two multiples, and those of other anchors
        # that it is the positive or the negative of.
        cost=Cost(
            forward_flops="B*(B + 1)*D",
            step_flops="B*(B + 1)*D + 7*B*D",
            forward_elements="B*D",
            step_elements="3*B*D",
            pruned_flops=PRUNED,
        ),
        needs_negatives=True,
        reference_limits={"compile": LOOPS, "export": LOOPS},
        departures=(
            ITSELF_POSITIVE,
            ONE_CLASS,
            "the document never uses its argument `batch_size`; it is left out here",
            "`correct` is a tensor; the document's .item() waits for the device",
            ROUNDED_SQUARES,
            IN_PLACE_PRODUCT,
        ),
    ),
    Loss(
        name="triplet_weighted_unshifted",
        summary="triplet loss of softmax-weighted positives and negatives, without the shift that "
        "prevents underflow",
        formula="mean_i log(1 + exp(Σ_p w⁺_ip d_ip - Σ_n w⁻_in d_in))",
        document="003 `TripletLoss_WRT`",
        paper="Ye et al. 2021, AGW, arXiv 2001.04193",
        reference=TripletWeightedUnshifted,
        inputs="labelled",
        output=LossAndCorrect,
        cost=WEIGHTED,
        departures=(
            "the softmax over negatives does not subtract the maximum, so the weights of negatives "
            "vanish at distances above about 14",
            "1e-6 is added to the sum of the weights",
            "in a batch of one class the closest negative is at distance 0; no error is raised",
            "in float32 the reference's soft margin overflows where the distances differ by more "
            "than 88; other variants do not overflow",
            ROUNDED_SQUARES,
            "`normalize` is an argument of the constructor; in the document, of forward",
            "`correct` is a tensor; the document's .item() waits for the device",
            IN_PLACE_PRODUCT,
        ),
    ),
    Loss(
        name="triplet_weighted",
        summary="triplet loss of softmax-weighted positives and negatives",
        formula="mean_i log(1 + exp(Σ_p w⁺_ip d_ip - Σ_n w⁻_in d_in)), w⁺ = softmax_p(d), "
        "w⁻ = softmax_n(-d)",
        document="the paper's form of 003 `TripletLoss_WRT`",
        paper="Ye et al. 2021, AGW, arXiv 2001.04193",
        reference=TripletWeighted,
        inputs="labelled",
        output=LossAndCorrect,
        cost=WEIGHTED,
        needs_negatives=True,
        departures=(ITSELF_POSITIVE, ONE_CLASS, ROUNDED_SQUARES),
    ),
    Loss(
        name="contrastive_whole_batch",
        summary="contrastive loss with one distance for the whole batch, for every pair's label",
        formula="mean_i ½ (y_i d² + (1 - y_i) max(0, m - d)²), d = ‖x0 - x1‖ over the whole batch",
        document="004 `ContrastiveLoss`",
        paper="Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping",
        reference=ContrastiveWholeBatch,
        inputs="pairs",
        output=LossOnly,
        cost=DIFFERENCES,
        departures=(
            "the paper takes one distance per pair; here one is taken over the whole batch",
            "a label of 1 means similar; in the paper 0 does",
            "if x0 == x1, the gradient is NaN, even if all pairs are similar",
        ),
    ),
    Loss(
        name="contrastive",
        summary="contrastive loss: pulls similar pairs together, pushes others a margin apart",
        formula="mean_i ½ (y_i d_i² + (1 - y_i) max(0, m - d_i)²), d_i = ‖x0_i - x1_i‖",
        document="the paper's form of 004 `ContrastiveLoss`",
        paper="Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping",
        reference=Contrastive,
        inputs="pairs",
        output=LossOnly,
        cost=DIFFERENCES,
        departures=(
            "a label of 1 means similar; in the paper 0 does",
            "the loss is the mean over pairs; in the paper it is the sum",
            "at d_i = 0 the gradient of the distance is set to 0",
        ),
    ),
)
