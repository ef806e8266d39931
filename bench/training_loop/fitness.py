"""Whether a variant is fit for a situation: what it declares, and what was found of it."""

from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.matrix import shipped_matrices
from lossbench.bench.training_loop.trainee import Trainee
from lossbench.impls.compiled import eager_of


def unfitness(loss: str, variant: str, limit: str) -> str:
    """Return why a variant with default arguments is not fit for a situation; empty where it is.

    Third parties declare no limits: what was found of them, and ships with lossbench, stands in.

    Args:
        loss: the Loss's name.
        variant: the variant.
        limit: the situation, of ``impls.limits.SITUATIONS``.
    """
    declared = Trainee(loss, variant).limit(limit)
    if declared:
        return declared
    tried = {each.name for each in LOOP_SITUATIONS.values() if each.limit == limit}
    for matrix in shipped_matrices().values():
        for row in matrix.rows_of(loss):
            for finding in row.findings if row.label == eager_of(variant) else ():
                if finding.situation in tried and finding.fitness == "worse":
                    return f"{finding.situation}: {finding.reason}"
    return ""
