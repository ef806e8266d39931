"""Losses of documents 000, 001 and 002, which pull each sample towards the centre of its class."""

from lossbench.impls.catalogue.notes import INT_LABELS, moving_limits
from lossbench.impls.cost import Cost
from lossbench.impls.loss import Loss, Moved
from lossbench.reference.center import CenterAllPairs, CenterMse, Island, SoftmaxCenterUnsquared
from lossbench.reference.center_squared import Center, SoftmaxCenter
from lossbench.reference.outputs import LossAndLogits, LossOnly

SUM_OVER_BATCH = "the loss is a sum over the batch, so in float16 it overflows above 65,504"
CENTRES_MOVE = (
    "with a center_rate above 0 the centres have no gradient, and training updates them by the "
    "paper's Eq. 4; at the default of 0 they have a gradient"
)

# The forward computes a difference and its square. The backward scales the difference for the
# sample, and adds it up for the centre.
OWN_CENTERS = Cost(
    forward_flops="3*B*D",
    step_flops="5*B*D",
    forward_elements="B*D + U*D",
    step_elements="3*B*D + 2*U*D + C*D",
)
SOFTMAX_AND_CENTERS = Cost(
    forward_flops="2*B*D*C + 3*B*D",
    step_flops="6*B*D*C + 5*B*D",
    forward_elements="B*D + D*C + U*D",
    step_elements="3*B*D + 3*D*C + 2*U*D + C*D",
)

CENTERS = (
    Loss(
        name="softmax_center_unsquared",
        summary="softmax plus one distance, not squared, of the whole batch to its centres",
        formula="CE(xW, y) + λ / (2B) √(Σ_i ‖x_i - c_{y_i}‖²)",
        document="001 `centerloss`",
        paper="Wen et al. 2016, A Discriminative Feature Learning Approach, Eq. 2",
        reference=SoftmaxCenterUnsquared,
        inputs="labelled",
        output=LossAndLogits,
        cost=SOFTMAX_AND_CENTERS,
        departures=(
            "the paper squares each sample's distance; here one root is taken over the whole batch",
            "the paper updates the centres by its Eq. 4; here they have a gradient",
            "if every sample lies on its centre, the gradient of the centre term is 0",
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
        cost=SOFTMAX_AND_CENTERS,
        moved=Moved("centers", "center_rate"),
        reference_limits=moving_limits("with a center_rate"),
        departures=("the linear layer has no bias, as in 001", CENTRES_MOVE, SUM_OVER_BATCH),
    ),
    Loss(
        name="center_all_pairs",
        summary="distances of all samples to the centres of all labels in the batch, and a running "
        "average of the centres",
        formula="1 / (2B) Σ_i Σ_j √(‖x_i - c_{y_j}‖² + 1e-8); c ← μ c + (1 - μ) class mean",
        document="002, answer 1",
        paper="Wen et al. 2016, A Discriminative Feature Learning Approach, Eq. 2",
        reference=CenterAllPairs,
        inputs="labelled",
        output=LossOnly,
        # The forward is one product of samples and distinct centres, and the squares of both.
        # Moving the centres takes one sum per class and a multiple of every centre. The backward
        # is one product for each side.
        cost=Cost(
            forward_flops="2*B*U*D + 3*B*D + 3*U*D + C*D",
            step_flops="6*B*U*D + 5*B*D + 5*U*D + C*D",
            forward_elements="B*D + 2*C*D",
            step_elements="3*B*D + U*D + 3*C*D",
        ),
        moved=Moved("centers", in_evaluation=True),
        reference_limits={
            **moving_limits(),
            "functional": "refused by torch: it moves the centres through .data",
        },
        departures=(
            "the paper squares the distance of each sample to its own centre; here the distances "
            "of all pairs are added up, not squared",
            "centres of absent classes decay by μ at each call",
            "centres move in evaluation too, as in the document: its forward always moves them",
            "centres move twice: by the average, and by the optimizer through their gradient",
            "repaired: the printed sum per class cannot run, or is wrong; here it is index_add_",
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
        cost=OWN_CENTERS,
        moved=Moved("centers", "center_rate"),
        reference_limits=moving_limits("with a center_rate"),
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
        cost=OWN_CENTERS,
        departures=("the value is 2 / (B D) times the paper's",),
    ),
    Loss(
        name="island",
        summary="centre loss plus the cosines between all pairs of centres",
        formula="1 / (2N) Σ_i ‖x_i - c_{y_i}‖² + α Σ_{j<k} (cos(c_j, c_k) + 1)",
        document="000 `IslandLoss`",
        paper="Cai et al. 2018, Island Loss, arXiv 1710.03144",
        reference=Island,
        inputs="labelled",
        output=LossOnly,
        # The length of the sum of unit centres gives the sum over all pairs, so the forward needs
        # the lengths of the centres and a weighted sum. The gradient of a centre lies in the plane
        # of the centre and that sum, so the backward needs a product and two multiples.
        cost=Cost(
            forward_flops="3*B*D + 4*C*D",
            step_flops="5*B*D + 9*C*D",
            forward_elements="B*D + C*D",
            step_elements="3*B*D + 3*C*D",
        ),
        departures=(
            "the centre term is divided by the constructor's batch size N, whatever batch is given",
            "the paper sums over ordered pairs of centres (twice this value), does not average the "
            "centre term, and updates the centres by a rule of its own",
            "a zero centre gives NaN",
            "the document never uses its argument `scale`; it is left out here",
            "repaired: the document does not print the package of its initialiser; centres start "
            "from a standard normal distribution",
        ),
    ),
)
