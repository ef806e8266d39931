"""Tiles of classes: the scores ``[B, T]`` of a tile stay in the caches and in one buffer."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# The maximum number of a tile's scores and of its weights: 4 MiB in float32.
TILE_ELEMENTS = 2**20
# The number of scores that are saved for the backward pass, 44 MiB in float32: those of the first
# tiles. The backward pass computes the others again.
KEPT_ELEMENTS = 11 * 2**20
# Very large batches would need narrower tiles, which are slow to multiply.
LEAST_TILE_WIDTH = 128


class Tile(NamedTuple):
    """The classes ``start:stop``.

    Attributes:
        start: the first class of the tile.
        stop: the class after the last one of the tile.
        column: each sample's target within the tile, ``[B, 1]``; any column if it is elsewhere.
        inside: true for samples with their target in the tile, ``[B, 1]``.
    """

    start: int
    stop: int
    column: Tensor
    inside: Tensor


class ClassTiles:
    """Tiles of ``weight [D, C]`` and of the scores of ``batch`` samples.

    Args:
        weight: the class weights ``[D, C]``, in any dtype.
        labels: the labels ``[B]``, int64.
        dtype: the dtype to compute in.

    Attributes:
        kept: the number of tiles that may keep their scores for the backward pass.
    """

    def __init__(self, weight: Tensor, labels: Tensor, dtype: torch.dtype) -> None:
        self.weight = weight
        self.dtype = dtype
        dim, classes = weight.shape
        width = TILE_ELEMENTS // max(1, dim, len(labels))
        self.width = min(classes, max(LEAST_TILE_WIDTH, width))
        self.kept = KEPT_ELEMENTS // max(1, len(labels) * self.width)
        self._homes = labels.div(self.width, rounding_mode="floor").unsqueeze(1)
        self._columns = labels.remainder(self.width).unsqueeze(1)
        self._buffers: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles in order; each reuses the buffers of the one before."""
        classes = self.weight.size(1)
        for index, start in enumerate(range(0, classes, self.width)):
            stop = min(start + self.width, classes)
            column = self._columns.clamp(max=stop - start - 1)
            yield Tile(start, stop, column, self._homes == index)

    def buffer(self, name: str, tile: Tile) -> Tensor:
        """Return the named buffer as ``[D, T]``, contiguous, with undefined contents."""
        dim, width = self.weight.size(0), tile.stop - tile.start
        if name not in self._buffers:
            self._buffers[name] = self.weight.new_empty(dim * self.width, dtype=self.dtype)
        return self._buffers[name][: dim * width].view(dim, width)

    def lengths(self, tile: Tile) -> Tensor:
        """Return the lengths of the tile's columns, ``[T]``."""
        weight = self._weight(tile)
        return torch.mul(weight, weight, out=self.buffer("columns", tile)).sum(0).sqrt_()

    def columns(self, tile: Tile, scale: Tensor | None) -> Tensor:
        """Return the tile's columns times their ``scale [T]``, ``[D, T]`` and contiguous."""
        weight = self._weight(tile)
        if scale is None:
            return weight.contiguous()
        return torch.mul(weight, scale, out=self.buffer("columns", tile))

    def _weight(self, tile: Tile) -> Tensor:
        return self.weight[:, tile.start : tile.stop].to(self.dtype)
