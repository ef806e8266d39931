"""Losses of document 001: cross-entropies over the products of embeddings and class weights."""

import math
from dataclasses import replace

from lossbench.impls.catalogue.notes import INT_LABELS
from lossbench.impls.cost import Cost
from lossbench.impls.loss import Loss, Moved
from lossbench.reference.margin import ArcFace, ArcFaceGuarded, SphereFace
from lossbench.reference.outputs import LossAndLogits
from lossbench.reference.softmax import ModifiedSoftmax, NormFace, Softmax

ONE_HOT_BYTES = "repaired: the document indexes with byte masks and calls .cuda(); here it does not"
SHORT_COLUMNS = (
    "initial weights are normalised by a max-norm, so a column shorter than 1e-5 stays short"
)
ZERO_ROWS = "a zero embedding gives gradients near 1e12, since it is divided by an epsilon of 1e-12"

# The forward takes one product, the backward two. Scores are divided by the lengths, and gradients
# are projected. A margin changes only the scores of the targets, so its cost is left out.
PRODUCT = Cost(
    forward_flops="2*B*D*C",
    step_flops="6*B*D*C",
    forward_elements="B*D + D*C",
    step_elements="3*B*D + 3*D*C",
)
UNIT_COLUMNS = replace(
    PRODUCT,
    forward_flops="2*B*D*C + 2*D*C",
    step_flops="6*B*D*C + 4*D*C",
)
COSINES = replace(
    PRODUCT,
    forward_flops="2*B*D*C + 2*B*D + 2*D*C",
    step_flops="6*B*D*C + 4*B*D + 4*D*C",
)

CROSS_ENTROPIES = (
    Loss(
        name="softmax",
        summary="cross-entropy over a linear layer without a bias",
        formula="-mean_i log softmax(x_i W)[y_i]",
        document="001 `Linear`",
        reference=Softmax,
        inputs="labelled",
        output=LossAndLogits,
        takes_options=True,
        cost=PRODUCT,
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
        takes_options=True,
        cost=UNIT_COLUMNS,
        departures=(
            "the document prints only the logits; the cross-entropy over them is added here",
            "renorm is a max-norm, so a column with ‖w‖ < 1e-5 gets the length 1e5 ‖w‖, not 1",
            "in float16 the factor 1e5 overflows, and the gradient of the weights is NaN",
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
        takes_options=True,
        cost=COSINES,
        departures=(
            "the scale is a constant; the paper learns it",
            "the returned logits are the cosines before scaling",
            ZERO_ROWS,
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
    Loss(
        name="sphereface",
        summary="multiplicative angular margin, annealed (A-softmax)",
        formula="-mean_i (1 - p_i)^γ log p_i over ‖x‖ cos θ, the target's "
        "‖x‖ (λ cos θ + ψ(θ)) / (1 + λ), ψ = (-1)^k cos(mθ) - 2k, "
        "λ = max(λ_min, λ_max / (1 + 0.2 it))",
        document="001 `SphereFace`",
        paper="Liu et al. 2017, SphereFace, arXiv 1704.08063, Eq. 7",
        reference=SphereFace,
        inputs="labelled",
        output=LossAndLogits,
        takes_options=True,
        cost=COSINES,
        bounds={"margin": (0, 5)},
        moved=Moved("iteration", in_evaluation=True),
        reference_limits={"export": "refused: it reads its counter by .item()"},
        departures=(
            "the counter of calls increases in evaluation too",
            "the document's counter is not in the state_dict; here it is the buffer `iteration`",
            "λ reaches its minimum of 3 only at call 49,995",
            "π is rounded down to 3.1415926, so k = m at an angle of exactly π",
            "a zero embedding gives a NaN gradient",
            "repaired: the one-hot has as many columns as there are classes; the document has 10",
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
        takes_options=True,
        cost=COSINES,
        departures=(
            "the document comments out its guard for θ > π - m; beyond this angle the loss falls",
            "1 - cos² is clamped to at least 1e-7, so the sine is never below 3.2e-4",
            ZERO_ROWS,
            ONE_HOT_BYTES,
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
    Loss(
        name="arcface_guarded",
        summary="additive angular margin with a target logit that falls up to an angle of π",
        formula="-mean_i log softmax(s cos θ_j, the target's s cos(θ + m) where "
        "cos θ > cos(π - m), else s (cos θ - m sin(π - m)))[y_i]",
        document="001 `ArcMarginProduct` with the guard that it comments out",
        paper="Deng et al. 2019, ArcFace, arXiv 1801.07698, Eq. 3",
        reference=ArcFaceGuarded,
        inputs="labelled",
        output=LossAndLogits,
        takes_options=True,
        cost=COSINES,
        bounds={"margin": (0, math.pi)},
        departures=(
            "the guard is not in the paper's equation; libraries add it",
            "the two branches do not meet: at θ = π - m the target logit jumps, down for margins "
            "up to 2.33 and up for larger ones",
            "π is exact; the document's guard has 3.1415926",
            "1 - cos² is clamped to at least 1e-7, so the sine is never below 3.2e-4",
            ZERO_ROWS,
            SHORT_COLUMNS,
            INT_LABELS,
        ),
    ),
)
