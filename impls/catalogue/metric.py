"""Documents 003 and 004, and their papers: losses of the pairs and triplets of a batch."""

from lossbench.impls.catalogue.notes import IN_PLACE_PRODUCT, ROUNDED_SQUARES
from lossbench.impls.cost import Cost
from lossbench.impls.loss import Loss
from lossbench.reference.contrastive import Contrastive, ContrastiveWholeBatch
from lossbench.reference.outputs import LossAndCorrect, LossOnly
from lossbench.reference.triplet import TripletBatchHard, TripletWeighted, TripletWeightedUnshifted

ITSELF_POSITIVE = (
    "an anchor is among its own positives: a class with one sample still gives an anchor"
)

# Half of a symmetric product, whose diagonal has the squares; backward a whole one, of the
# symmetric derivatives by the squares with the embeddings.
WEIGHTED = Cost(
    forward_flops="B*(B + 1)*D",
    step_flops="B*(B + 1)*D + 2*B*B*D",
    forward_elements="B*D",
    step_elements="3*B*D",
)
# A difference and its square; then its multiple for one side, with the sign changed for the other.
DIFFERENCES = Cost(
    forward_flops="3*B*D",
    step_flops="5*B*D",
    forward_elements="2*B*D",
    step_elements="6*B*D",
)

ONE_CLASS = "a batch of one class, as one sample is, is refused: its anchors have no negative"

METRIC = (
    Loss(
        name="triplet_batch_hard",
        summary="each anchor's furthest positive against its closest negative",
        formula="mean_i max(0, m + max_p d_ip - min_n d_in)",
        document="003 `OriTripletLoss`",
        paper="Hermans et al. 2017, In Defense of the Triplet Loss, arXiv 1703.07737, Eq. 5",
        reference=TripletBatchHard,
        inputs="labelled",
        output=LossAndCorrect,
        # The distances as above; backward two differences an anchor, their multiples, and one sum a
        # row of its own two and of those it is a partner in.
        cost=Cost(
            forward_flops="B*(B + 1)*D",
            step_flops="B*(B + 1)*D + 7*B*D",
            forward_elements="B*D",
            step_elements="3*B*D",
        ),
        needs_negatives=True,
        departures=(
            ITSELF_POSITIVE,
            ONE_CLASS,
            "the document's `batch_size` is never used, and is left out",
            "`correct` is a tensor, where the document synchronises by .item()",
            ROUNDED_SQUARES,
            IN_PLACE_PRODUCT,
        ),
    ),
    Loss(
        name="triplet_weighted_unshifted",
        summary="softmax-weighted positives against softmax-weighted negatives",
        formula="mean_i log(1 + exp(Σ_p w⁺_ip d_ip - Σ_n w⁻_in d_in))",
        document="003 `TripletLoss_WRT`",
        paper="Ye et al. 2021, AGW, arXiv 2001.04193",
        reference=TripletWeightedUnshifted,
        inputs="labelled",
        output=LossAndCorrect,
        cost=WEIGHTED,
        departures=(
            "the negatives' weights are never shifted and vanish where distances exceed about 14",
            "1e-6 is added to the weights' sum",
            "a batch of one class has a closest negative at 0, in silence",
            "in float32 the reference's soft margin overflows where the distances differ by more "
            "than 88; contenders' does not",
            ROUNDED_SQUARES,
            "`normalize` is an argument of the constructor, where the document has it in forward",
            "`correct` is a tensor, where the document synchronises by .item()",
            IN_PLACE_PRODUCT,
        ),
    ),
    Loss(
        name="triplet_weighted",
        summary="softmax-weighted positives against softmax-weighted negatives, at any distance",
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
        summary="one distance for the whole batch, under every pair's label",
        formula="mean_i ½ (y_i d² + (1 - y_i) max(0, m - d)²), d = ‖x0 - x1‖ over the whole batch",
        document="004 `ContrastiveLoss`",
        paper="Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping",
        reference=ContrastiveWholeBatch,
        inputs="pairs",
        output=LossOnly,
        cost=DIFFERENCES,
        departures=(
            "the paper takes one distance a pair; here one is taken over the whole batch",
            "a label of 1 means similar, where the paper's 0 does",
            "x0 == x1 gives a NaN gradient, even where all pairs are similar",
        ),
    ),
    Loss(
        name="contrastive",
        summary="similar pairs together, the others a margin apart",
        formula="mean_i ½ (y_i d_i² + (1 - y_i) max(0, m - d_i)²), d_i = ‖x0_i - x1_i‖",
        document="the paper's form of 004 `ContrastiveLoss`",
        paper="Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping",
        reference=Contrastive,
        inputs="pairs",
        output=LossOnly,
        cost=DIFFERENCES,
        departures=(
            "a label of 1 means similar, where the paper's 0 does",
            "the mean over pairs, where the paper sums",
            "at d_i = 0 the distance's gradient is taken as 0",
        ),
    ),
)
