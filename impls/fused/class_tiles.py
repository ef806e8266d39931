"""The classes cut into tiles, so that scores ``[B, T]`` stay in the caches and in one buffer."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# The larger of a tile's scores and of its weights: 4 MiB in float32.
TILE_ELEMENTS = 2**20
# So many scores, 40 MiB in float32, are kept for the backward pass: those of the first tiles. The
# others are computed there once more.
KEPT_ELEMENTS = 10 * 2**20
# Narrower tiles, which very large batches would ask for, are slow to multiply.
LEAST_WIDTH = 128


class Tile(NamedTuple):
    """The classes ``start:stop``.

    Attributes:
        start: its first class.
        stop: one beyond its last class.
        column: each sample's target within the tile, ``[B, 1]``; any column if it is elsewhere.
        inside: whether the target is here, ``[B, 1]``.
    """

    start: int
    stop: int
    column: Tensor
    inside: Tensor


class ClassTiles:
    """Tiles of ``weight [D, C]`` and of the scores of ``batch`` samples.

    Args:
        weight: in any dtype.
        labels: ``[B]``, int64.
        dtype: what to compute in.
        keep: give the first tiles scores of their own, as ``kept``.
    """

    def __init__(self, weight: Tensor, labels: Tensor, dtype: torch.dtype, keep: bool) -> None:
        self.weight = weight
        self.labels = labels.unsqueeze(1)
        self.dtype = dtype
        dim, classes = weight.shape
        width = TILE_ELEMENTS // max(1, dim, len(labels))
        self.width = min(classes, max(LEAST_WIDTH, width))
        self.kept_tiles = KEPT_ELEMENTS // max(1, len(labels) * self.width) if keep else 0
        self.kept: list[Tensor] = []
        self._buffers: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles in order; the buffers of one are those of the next."""
        classes = self.weight.size(1)
        for start in range(0, classes, self.width):
            stop = min(start + self.width, classes)
            column = self.labels - start
            inside = (column >= 0).logical_and_(column < stop - start)
            yield Tile(start, stop, column.clamp_(0, stop - start - 1), inside)

    def buffer(self, name: str, tile: Tile) -> Tensor:
        """Return ``[D, T]``, contiguous, of the named buffer, its contents whatever they were."""
        return self._room(name, self.weight.size(0), tile.stop - tile.start)

    def _room(self, name: str, height: int, width: int) -> Tensor:
        if name not in self._buffers:
            self._buffers[name] = self.weight.new_empty(height * self.width, dtype=self.dtype)
        return self._buffers[name][: height * width].view(height, width)

    def scores(self, tile: Tile) -> Tensor:
        """Return room for the scores, ``[B, T]`` and contiguous, which is kept for a first tile."""
        batch, width = len(self.labels), tile.stop - tile.start
        if len(self.kept) < self.kept_tiles:
            self.kept.append(self.weight.new_empty(batch, width, dtype=self.dtype))
            return self.kept[-1]
        return self._room("scores", batch, width)

    def lengths(self, tile: Tile) -> Tensor:
        """Return the lengths of the tile's columns, ``[T]``."""
        squares = self.buffer("columns", tile).copy_(self.weight[:, tile.start : tile.stop])
        return squares.square_().sum(0).sqrt_()

    def columns(self, tile: Tile, scale: Tensor | None) -> Tensor:
        """Return the tile's columns times their ``scale [T]``, ``[D, T]``."""
        weight = self.weight[:, tile.start : tile.stop]
        if scale is not None:
            return torch.mul(weight, scale, out=self.buffer("columns", tile))
        return weight if weight.dtype == self.dtype else self.buffer("columns", tile).copy_(weight)
