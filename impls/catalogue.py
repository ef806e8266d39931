"""The catalogue: every Loss, in the order of the documents, and where each departs from its paper.

A paper's own form stands after the document's that departs from it, under the plain name. This is
the only place in ``impls`` that names the references; contenders take the output types from here.
"""

import math

from impls.loss import Loss
from reference import (
    ArcFace,
    ArcFaceGuarded,
    Center,
    CenterAllPairs,
    CenterMse,
    Contrastive,
    ContrastiveWholeBatch,
    Distances,
    Island,
    LossAndCorrect,
    LossAndLogits,
    LossOnly,
    ModifiedSoftmax,
    NormFace,
    PairwiseDistance,
    PairwiseSquaredDistance,
    Softmax,
    SoftmaxCenter,
    SoftmaxCenterUnsquared,
    SphereFace,
    TripletBatchHard,
    TripletWeighted,
    TripletWeightedUnshifted,
    VectorDistance,
)

__all__ = ["CATALOGUE", "Distances", "LossAndCorrect", "LossAndLogits", "LossOnly"]

INT_LABELS = "the document's cross-entropy raises on int32 labels; here any integer dtype is taken"
ONE_HOT_BYTES = "repaired: the document indexes with byte masks and calls .cuda()"
SHORT_COLUMNS = (
    "weights are initialised by a max-norm: a column that is shorter than 1e-5 stays short"
)
ZERO_ROWS = "a zero embedding gives gradients near 1e12, from the normalisation's epsilon"
IN_PLACE_PRODUCT = (
    "repaired: addmm_(1, -2, a, b) is written with today's beta and alpha; same values"
)
ROUNDED_SQUARES = (
    "the expanded square cancels: between equal rows rounding leaves up to 0.018 in float32"
)

SUM_OVER_BATCH = "a sum over the batch: in float16 it overflows past 65,504"
CENTRES_MOVE = (
    "with a center_rate the centres have no gradient and move by counts (the paper's Eq. 4), in "
    "training only; without, as by default, they follow their gradient"
)
ITSELF_POSITIVE = (
    "an anchor is among its own positives: a class with one sample still gives an anchor"
)

CATALOGUE = (
    Loss(
        name="softmax",
        summary="cross-entropy over a linear layer without a bias",
        formula="-mean_i log softmax(x_i W)[y_i]",
        document="001 `Linear`",
        reference=Softmax,
        inputs="labelled",
        output=LossAndLogits,
        departures=(INT_LABELS,),
    ),
    Loss(
        name="modified_softmax",
        summary="softmax with class weights of length 1",
        formula="-mean_i log softmax(x_i Ŵ)[y_i], ŵ_j = w_j / (‖w_j‖ + 1e-7)",
        document="001 `Modified`, cross-entropy over its output",
        paper="Liu et al. 2017, SphereFace, arXiv 1704.08063",
        reference=ModifiedSoftmax,
        inputs="labelled",
        output=LossAndLogits,
        departures=(
            "the document prints the logits; the cross-entropy over them is its caller's",
            "the renorm is a max-norm: columns with ‖w‖ < 1e-5 stay short, at 1e5 ‖w‖",
            "in float16 the factor 1e5 overflows and the weights' gradient is NaN",
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
    Loss(
        name="normface",
        summary="softmax over scaled cosines",
        formula="-mean_i log softmax(s cos(x_i, w_j))[y_i]",
        document="001 `NormFace`",
        paper="Wang et al. 2017, NormFace, arXiv 1704.06369",
        reference=NormFace,
        inputs="labelled",
        output=LossAndLogits,
        departures=(
            "the scale is fixed, where the paper learns it",
            "its logits are the cosines before scaling",
            ZERO_ROWS,
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
    Loss(
        name="sphereface",
        summary="A-softmax: a multiplicative angular margin, annealed",
        formula="-mean_i (1 - p_i)^γ log p_i over ‖x‖ cos θ, the target's "
        "‖x‖ (λ cos θ + ψ(θ)) / (1 + λ), ψ = (-1)^k cos(mθ) - 2k, "
        "λ = max(λ_min, λ_max / (1 + 0.2 it))",
        document="001 `SphereFace`",
        paper="Liu et al. 2017, SphereFace, arXiv 1704.08063, Eq. 7",
        reference=SphereFace,
        inputs="labelled",
        output=LossAndLogits,
        bounds={"margin": (0, 5)},
        departures=(
            "the call counter advances in evaluation too",
            "the document's counter is in no state_dict; here it is the buffer `iteration`",
            "λ reaches its minimum of 3 only at call 49,995",
            "π is 3.1415926, so that k = m at an angle of exactly π",
            "a zero embedding gives a NaN gradient",
            "repaired: the one-hot has the batch's number of classes, where the document fixes 10",
            ONE_HOT_BYTES,
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
    Loss(
        name="arcface",
        summary="additive angular margin",
        formula="-mean_i log softmax(s cos θ_j, the target's s cos(θ + m))[y_i]",
        document="001 `ArcMarginProduct`",
        paper="Deng et al. 2019, ArcFace, arXiv 1801.07698, Eq. 3",
        reference=ArcFace,
        inputs="labelled",
        output=LossAndLogits,
        departures=(
            "the guard for θ > π - m is commented out: the loss falls again beyond it",
            "1 - cos² is held at 1e-7 or more, so that the sine is never below 3.2e-4",
            ZERO_ROWS,
            ONE_HOT_BYTES,
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
    Loss(
        name="arcface_guarded",
        summary="additive angular margin, falling all the way to an angle of π",
        formula="-mean_i log softmax(s cos θ_j, the target's s cos(θ + m) where "
        "cos θ > cos(π - m), else s (cos θ - m sin(π - m)))[y_i]",
        document="001 `ArcMarginProduct` with its commented-out guard",
        paper="Deng et al. 2019, ArcFace, arXiv 1801.07698, Eq. 3",
        reference=ArcFaceGuarded,
        inputs="labelled",
        output=LossAndLogits,
        bounds={"margin": (0, math.pi)},
        departures=(
            "the guard is no part of the paper's equation; libraries add it",
            "the two branches do not meet at θ = π - m: the target's logit steps there, down for "
            "margins to 2.33 and up beyond",
            "π is exact, where the document's guard has 3.1415926",
            "1 - cos² is held at 1e-7 or more, so that the sine is never below 3.2e-4",
            ZERO_ROWS,
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
    Loss(
        name="softmax_center_unsquared",
        summary="softmax plus one un-squared distance of the batch to its centres",
        formula="CE(xW, y) + λ / (2B) √(Σ_i ‖x_i - c_{y_i}‖²)",
        document="001 `centerloss`",
        paper="Wen et al. 2016, A Discriminative Feature Learning Approach, Eq. 2",
        reference=SoftmaxCenterUnsquared,
        inputs="labelled",
        output=LossAndLogits,
        departures=(
            "the paper squares each sample's distance; here one root is taken over the batch",
            "the paper moves centres by their counts; here they follow their gradient",
            "where every sample lies on its centre the centres' term has gradient 0",
            INT_LABELS,
        ),
    ),
    Loss(
        name="softmax_center",
        summary="softmax plus the squared distances to the class centres",
        formula="-Σ_i log softmax(x_i W)[y_i] + λ/2 Σ_i ‖x_i - c_{y_i}‖²",
        document="the paper's form of 001 `centerloss`",
        paper="Wen et al. 2016, A Discriminative Feature Learning Approach, Eq. 5",
        reference=SoftmaxCenter,
        inputs="labelled",
        output=LossAndLogits,
        departures=("no bias, as in 001", CENTRES_MOVE, SUM_OVER_BATCH),
    ),
    Loss(
        name="center_all_pairs",
        summary="every sample to the centre of every label in the batch, and an average of centres",
        formula="1 / (2B) Σ_i Σ_j √(‖x_i - c_{y_j}‖² + 1e-8); c ← μ c + (1 - μ) class mean",
        document="002, answer 1",
        paper="Wen et al. 2016, A Discriminative Feature Learning Approach, Eq. 2",
        reference=CenterAllPairs,
        inputs="labelled",
        output=LossOnly,
        departures=(
            "the paper takes each sample to its own centre, squared; here all pairs, un-squared",
            "centres of absent classes decay by μ at each call",
            "centres move twice: by the average, and by the optimizer through their gradient",
            "repaired: the printed sum by class cannot run, or sums wrongly; here it is index_add_",
        ),
    ),
    Loss(
        name="center",
        summary="half the squared distances to the class centres",
        formula="½ Σ_i ‖x_i - c_{y_i}‖²",
        document="the paper's form of 002, answer 1",
        paper="Wen et al. 2016, A Discriminative Feature Learning Approach, Eq. 2",
        reference=Center,
        inputs="labelled",
        output=LossOnly,
        departures=(CENTRES_MOVE, SUM_OVER_BATCH),
    ),
    Loss(
        name="center_mse",
        summary="mean squared difference from the class centres",
        formula="1 / (B D) Σ_i ‖x_i - c_{y_i}‖²",
        document="002, answer 3",
        paper="Wen et al. 2016, A Discriminative Feature Learning Approach, Eq. 2",
        reference=CenterMse,
        inputs="labelled",
        output=LossOnly,
        departures=("2 / (B D) times the paper's value",),
    ),
    Loss(
        name="island",
        summary="centre loss plus the cosines between centres",
        formula="1 / (2N) Σ_i ‖x_i - c_{y_i}‖² + α Σ_{j<k} (cos(c_j, c_k) + 1)",
        document="000 `IslandLoss`",
        paper="Cai et al. 2018, Island Loss, arXiv 1710.03144",
        reference=Island,
        inputs="labelled",
        output=LossOnly,
        departures=(
            "divides by the constructor's batch size N, whatever batch comes",
            "the paper sums ordered pairs of centres (twice this), does not average the centre "
            "term and moves centres by a rule of its own",
            "a zero centre gives NaN",
            "the document's `scale` is never used, and is left out",
            "repaired: the initialiser's package is not printed; centres start standard normal",
        ),
    ),
    Loss(
        name="triplet_batch_hard",
        summary="each anchor's furthest positive against its closest negative",
        formula="mean_i max(0, m + max_p d_ip - min_n d_in)",
        document="003 `OriTripletLoss`",
        paper="Hermans et al. 2017, In Defense of the Triplet Loss, arXiv 1703.07737, Eq. 5",
        reference=TripletBatchHard,
        inputs="labelled",
        output=LossAndCorrect,
        needs_negatives=True,
        departures=(
            ITSELF_POSITIVE,
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
        departures=(
            "the negatives' weights are never shifted and vanish where distances exceed about 14",
            "1e-6 is added to the weights' sum",
            "a batch of one class has a closest negative at 0, in silence",
            "the soft margin overflows where the distances differ by more than 88",
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
        needs_negatives=True,
        departures=(ITSELF_POSITIVE, ROUNDED_SQUARES),
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
        departures=(
            "a label of 1 means similar, where the paper's 0 does",
            "the mean over pairs, where the paper sums",
            "at d_i = 0 the distance's gradient is taken as 0",
        ),
    ),
    Loss(
        name="pairwise_distance",
        summary="Euclidean distances by the expanded square",
        formula="√max(‖a_i‖² + ‖b_j‖² - 2 a_i·b_j, 1e-12)",
        document="003 `pdist_torch`, 004 `euclidean_dist`",
        reference=PairwiseDistance,
        inputs="rows",
        output=Distances,
        kind="distance",
        departures=(ROUNDED_SQUARES, IN_PLACE_PRODUCT),
    ),
    Loss(
        name="pairwise_squared_distance",
        summary="squared Euclidean distances by the expanded square",
        formula="-2 a_i·b_j + ‖a_i‖² + ‖b_j‖²",
        document="003 `pdist_np`",
        reference=PairwiseSquaredDistance,
        inputs="rows",
        output=Distances,
        kind="distance",
        departures=(
            "not clamped: rounding leaves values down to -4e-4 in float32",
            "the document's is NumPy and has no gradient; here it is torch",
        ),
    ),
    Loss(
        name="vector_distance",
        summary="one Euclidean distance between two whole arrays",
        formula="√Σ (a - b)²",
        document="004 `euclidean_dist_vector`",
        reference=VectorDistance,
        inputs="arrays",
        output=Distances,
        kind="distance",
        departures=("a == b gives a NaN gradient",),
    ),
)
