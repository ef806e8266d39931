"""Nobody takes a reference's word for itself: something independent holds each loss."""

import ast
from pathlib import Path

import pytest

from lossbench import impls
from tests.reference.test_golden import CASES

PAPERS = Path(__file__).parent / "test_papers.py"
GOLDEN = {case["loss"] for case in CASES.values()}


def named_in_tests(path):
    """Return the texts that stand in a file's tests; its tables of cases are none of them."""
    tests = [
        n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef | ast.ClassDef)
    ]
    nodes = [node for test in tests for node in ast.walk(test)]
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_something_independent_holds_every_loss(loss):
    assert loss in GOLDEN | named_in_tests(PAPERS), (
        f"{loss}: only its own reference says what it is; add to tests/reference/test_papers.py a "
        f"test of its paper's equation worked by hand or in plain loops, or, where a document "
        f"prints code, what that code gives to tests/reference/data (cases.json and a .npz)"
    )
