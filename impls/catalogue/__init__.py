"""The catalogue: every Loss, in the order of the documents, and where each departs from its paper.

A paper's own form stands after the document's that departs from it, under the plain name. This is
the only package in ``impls`` that names the references; contenders take the output types from here.
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
