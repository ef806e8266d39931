"""Choose the implementation that a Case is judged by: the reference, or a tiled one beyond memory.

The reference keeps whole matrices of logits or of distances. Where these do not fit into memory in
float64, the ``fused`` variant is run in float64 instead: it computes the same a tile at a time, and
at smaller sizes it is itself judged by the reference. The Record says so.
"""

from functools import lru_cache

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.presets import LOGIT_LOSSES, MINING
from lossbench.bench.machine.quotas import available_memory
from lossbench.impls.registry import REFERENCE

TILED = "fused"
# The whole matrices of float64 that a step of a reference has at once, at most, as was counted.
MATRICES = 18


@lru_cache(maxsize=2)
def oracle_of(case: Case, memory_bytes: int | None = None) -> impls.Implementation:
    """Return the implementation that computes what is expected in a Case, one for a process.

    Args:
        case: case to judge implementations in.
        memory_bytes: memory that a step of the oracle may take; by default what is available.
    """
    room = available_memory() if memory_bytes is None else memory_bytes
    name = TILED if _reference_bytes(case) > room else REFERENCE
    return impls.implementation(case.loss, name)


def _reference_bytes(case: Case) -> int:
    """Return the bytes of the reference's whole matrices in float64; 0 if it has none."""
    if case.loss in MINING:
        columns = case.batch
    else:
        columns = case.classes if case.loss in LOGIT_LOSSES else 0
    return MATRICES * case.batch * columns * 8
