"""The operators, loaded for the tests of this folder."""

import pytest

from lossbench.impls.native import build, operators


@pytest.fixture(scope="package")
def loaded():
    """Load the operators; without a compiler or a wheel's library their tests are skipped."""
    reason = build.problem()
    if reason:
        pytest.skip(f"the native operators: {reason}")
    operators.load()
