"""Every eager implementation gives the values of the documents' own code, in float64."""

from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.compat.golden import GOLDEN_TOLERANCE, golden_vectors
from lossbench.bench.paths import GOLDEN
from lossbench.impls.registry import REFERENCE

VECTORS = golden_vectors()
PAIRS = [
    pytest.param(vector, implementation, id=f"{vector.name}-{implementation.variant}")
    for vector in VECTORS
    for implementation in impls.implementations(vector.loss)
    if not (implementation.compiled or implementation.departs)
]


@pytest.mark.parametrize(("vector", "implementation"), PAIRS)
def test_an_implementation_gives_the_documents_values(vector, implementation):
    reason = implementation.unsupported("cpu", torch.float64)
    if reason:
        pytest.skip(reason)
    assert vector.failure(implementation) == ""


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_reference_gives_them_to_ten_digits(vector):
    given = vector.results(impls.implementation(vector.loss, REFERENCE))
    assert given.keys() == {k for k in vector.arrays if not k.startswith(("in.", "state."))}
    for name, tensor in given.items():
        torch.testing.assert_close(tensor, vector.arrays[name], rtol=1e-10, atol=1e-10, msg=name)


def test_a_value_that_is_off_is_told():
    vector = VECTORS[0]
    moved = vector.arrays["out.loss"] * (1 + 10 * GOLDEN_TOLERANCE)
    changed = replace(vector, arrays={**vector.arrays, "out.loss": moved})
    told = changed.failure(impls.implementation(vector.loss, REFERENCE))
    assert told == "out.loss is off by 1.0e-08"


def test_all_thirty_vectors_of_all_fifteen_entries_are_held():
    assert len(VECTORS) == 30
    assert len({vector.loss for vector in VECTORS}) == 15
    assert {path.stem for path in GOLDEN.glob("*.npz")} == {vector.name for vector in VECTORS}
