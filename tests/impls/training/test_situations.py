"""Every implementation in every situation of a training loop that takes one process."""

import pytest

from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.situation import find
from tests.makers.training import TRAINEES

# One of each way to compile a loss or to refuse it; the others take minutes, and run with -m slow.
QUICK = (
    "arcface-reference",
    "normface-fused",
    "sphereface-vectorized",
    "softmax_center-fused-center_rate",
    "center-sparse",
    "center_all_pairs-reference",
    "center_all_pairs-fused",
    "center_all_pairs-vectorized",
    "contrastive-fused",
)


def cells():
    """Yield every cell of the matrix, most of those that compile marked as slow."""
    for situation in LOOP_SITUATIONS.values():
        for trainee in TRAINEES if situation.processes == 1 else ():
            slow = situation.limit == "compile" and str(trainee) not in QUICK
            marks = pytest.mark.slow if slow else ()
            yield pytest.param(situation, trainee, id=f"{situation.name}-{trainee}", marks=marks)


# Adagrad makes a sparse tensor, of which torch warns once that it does not check it.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize(("situation", "trainee"), list(cells()))
def test_is_right_or_refuses_as_documented(situation, trainee):
    found = find(situation, trainee)
    assert found.fitness != "worse", found.reason
