"""Tiles of matrices whose rows are far apart, in the interpreter."""

import pytest

from lossbench.impls.triton.kernels import tiles
from tests.impls.triton.oracle import agree

LOSSES = ("arcface", "triplet_batch_hard", "triplet_weighted", "center_all_pairs")


@pytest.mark.parametrize("loss", LOSSES)
def test_addresses_of_64_bits_give_the_same(loss, monkeypatch):
    monkeypatch.setattr(tiles, "FAR_ELEMENTS", 1)
    agree(loss, (33, 17, 33))


def test_rows_are_far_apart_if_a_tile_of_them_reaches_beyond_32_bits():
    assert tiles.is_far(512, 2**23)
    assert not tiles.is_far(512, 8_000_000)
