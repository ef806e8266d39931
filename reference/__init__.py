"""What the documents say: one readable ``nn.Module`` a loss, faithful to the printed code.

Nothing here is optimised. The harness takes these in float64 for the truth, so they are changed
only where they differ from their document.
"""

from reference.center import CenterAllPairs, CenterMse, Island, SoftmaxCenterUnsquared
from reference.contrastive import ContrastiveWholeBatch
from reference.distance import PairwiseDistance, PairwiseSquaredDistance, VectorDistance
from reference.margin import ArcFace, SphereFace
from reference.outputs import Distances, LossAndCorrect, LossAndLogits, LossOnly
from reference.softmax import ModifiedSoftmax, NormFace, Softmax
from reference.triplet import TripletBatchHard, TripletWeightedUnshifted

__all__ = [
    "ArcFace",
    "CenterAllPairs",
    "CenterMse",
    "ContrastiveWholeBatch",
    "Distances",
    "Island",
    "LossAndCorrect",
    "LossAndLogits",
    "LossOnly",
    "ModifiedSoftmax",
    "NormFace",
    "PairwiseDistance",
    "PairwiseSquaredDistance",
    "Softmax",
    "SoftmaxCenterUnsquared",
    "SphereFace",
    "TripletBatchHard",
    "TripletWeightedUnshifted",
    "VectorDistance",
]
