"""Every loss has a test that is independent of its reference."""

import ast
from pathlib import Path

import pytest

from lossbench import impls
from lossbench.bench.compat.golden import golden_vectors

PAPERS = Path(__file__).parent / "test_papers.py"
GOLDEN = {vector.loss for vector in golden_vectors()}


def named_in_tests(path):
    """Return the strings in the tests of a file, without those in its tables of cases."""
    tests = [
        n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef | ast.ClassDef)
    ]
    nodes = [node for test in tests for node in ast.walk(test)]
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_something_independent_holds_every_loss(loss):
    assert loss in GOLDEN | named_in_tests(PAPERS), (
        f"{loss}: nothing independent checks its reference; add a test of its paper's equation, by "
        f"hand or in plain loops, to tests/reference/test_papers.py, or add the values of its "
        f"document's code to reference/golden (cases.json and a .npz)"
    )
