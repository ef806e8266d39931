"""The garbage collector is paused inside the block, and afterwards as it was before."""

import gc
from contextlib import suppress

import pytest

from lossbench.bench.collector import paused_collector


@pytest.fixture(params=[True, False])
def enabled(request):
    """Return whether the collector runs, before and after the test."""
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_the_collector_is_paused_and_then_as_it_was_even_after_an_error(enabled):
    seen = []
    with suppress(ValueError), paused_collector():
        seen.append(gc.isenabled())
        raise ValueError
    assert [*seen, gc.isenabled()] == [False, enabled]
