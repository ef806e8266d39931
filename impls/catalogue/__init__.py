"""The catalogue: every Loss, in the order of the documents, with its departures from its paper.

If the form in a document departs from its paper, the form of the paper follows it, under the plain
name. This is the only package in ``impls`` that imports the references; contenders import the
output types from here.
"""

from lossbench.impls.catalogue.centers import CENTERS
from lossbench.impls.catalogue.classification import CROSS_ENTROPIES
from lossbench.impls.catalogue.distances import DISTANCES
from lossbench.impls.catalogue.metric import METRIC
from lossbench.reference.options import EntropyOptions, Reduction
from lossbench.reference.outputs import Distances, LossAndCorrect, LossAndLogits, LossOnly

__all__ = [
    "CATALOGUE",
    "Distances",
    "EntropyOptions",
    "LossAndCorrect",
    "LossAndLogits",
    "LossOnly",
    "Reduction",
]

CATALOGUE = (*CROSS_ENTROPIES, *CENTERS, *METRIC, *DISTANCES)
