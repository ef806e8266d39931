"""What the documents say: one readable ``nn.Module`` a loss, faithful to the printed code.

Where a document's value departs from its paper's, the paper's form is a loss of its own. Nothing
here is optimised. The harness takes these in float64 for the truth, so they are changed only where
they differ from what they are taken from.
"""

from lossbench.reference.center import CenterAllPairs, CenterMse, Island, SoftmaxCenterUnsquared
from lossbench.reference.center_squared import Center, SoftmaxCenter
from lossbench.reference.contrastive import Contrastive, ContrastiveWholeBatch
from lossbench.reference.distance import PairwiseDistance, PairwiseSquaredDistance, VectorDistance
from lossbench.reference.margin import ArcFace, ArcFaceGuarded, SphereFace
from lossbench.reference.outputs import Distances, LossAndCorrect, LossAndLogits, LossOnly
from lossbench.reference.softmax import ModifiedSoftmax, NormFace, Softmax
from lossbench.reference.triplet import TripletBatchHard, TripletWeighted, TripletWeightedUnshifted

__all__ = [
    "ArcFace",
    "ArcFaceGuarded",
    "Center",
    "CenterAllPairs",
    "CenterMse",
    "Contrastive",
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
    "SoftmaxCenter",
    "SoftmaxCenterUnsquared",
    "SphereFace",
    "TripletBatchHard",
    "TripletWeighted",
    "TripletWeightedUnshifted",
    "VectorDistance",
]
