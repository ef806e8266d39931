"""Distances of documents 003 and 004, from which losses are built."""

from lossbench.impls.catalogue.notes import IN_PLACE_PRODUCT, ROUNDED_SQUARES
from lossbench.impls.cost import Cost
from lossbench.impls.loss import Loss
from lossbench.reference.distance import PairwiseDistance, PairwiseSquaredDistance, VectorDistance
from lossbench.reference.outputs import Distances

# The forward is one product and the squares of both sides; the backward is one product for each
# side. The upstream gradient is as large as the output.
ALL_PAIRS = Cost(
    forward_flops="2*B*B*D + 4*B*D",
    step_flops="6*B*B*D + 8*B*D",
    forward_elements="2*B*D + B*B",
    step_elements="6*B*D + 2*B*B",
)

DISTANCES = (
    Loss(
        name="pairwise_distance",
        summary="Euclidean distances by the expanded square",
        formula="√max(‖a_i‖² + ‖b_j‖² - 2 a_i·b_j, 1e-12)",
        document="003 `pdist_torch`, 004 `euclidean_dist`",
        reference=PairwiseDistance,
        inputs="rows",
        output=Distances,
        cost=ALL_PAIRS,
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
        cost=ALL_PAIRS,
        kind="distance",
        departures=(
            "the values are not clamped; in float32 rounding gives values down to -4e-4",
            "the document's code is NumPy and has no gradient; here it is torch",
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
        cost=Cost(
            forward_flops="3*B*D",
            step_flops="5*B*D",
            forward_elements="2*B*D",
            step_elements="6*B*D",
        ),
        kind="distance",
        departures=("if a == b, the gradient is NaN",),
    ),
)
