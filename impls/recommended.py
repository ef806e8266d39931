"""The shipped table of measurements, from which ``auto`` chooses a variant.

``lossbench choose-table`` writes it from records: for each Loss, machine, device and dtype a sheet
with the measured times of every variant, and the curve that was fitted to them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import median
from typing import Any

import torch

from lossbench.impls.estimate import (
    AXES,
    CostCurve,
    Place,
    is_within_reach,
    place_of,
    terms_of_time,
)
from lossbench.impls.loss import Loss
from lossbench.impls.registry import losses

TABLE = "recommended.json"


@dataclass(frozen=True)
class Estimate:
    """The time of a variant at a size.

    Attributes:
        seconds: the time of a step.
        basis: ``measured``, ``modelled`` or ``extrapolated``, as in ``lossbench choose``.
        sizes: the number of measured sizes that it rests on.
    """

    seconds: float
    basis: str
    sizes: int


@dataclass(frozen=True)
class Shipped:
    """The measurements of a variant in the shipped table.

    Attributes:
        seconds: the time of a step, by size: batch, dim, classes.
        curve: the curve of the time, for other sizes.
        modelled: whether the curve has enough sizes for its error to be known.
        proven: whether the variant is right on every release of torch in ``proven_releases``.
        worse: the degenerate inputs on which it is worse than the reference.
    """

    seconds: Mapping[Place, float]
    curve: CostCurve
    modelled: bool
    proven: bool
    worse: tuple[str, ...]

    def estimate(self, size: Place, terms: Sequence[float], place: Place) -> Estimate:
        """Return the time of a step at a size.

        Args:
            size: batch, dim, classes.
            terms: the terms of the curve there.
            place: the size on the axes that the time depends on.
        """
        if size in self.seconds:
            return Estimate(self.seconds[size], "measured", 1)
        near = self.modelled and is_within_reach(place, self.curve.places)
        basis = "modelled" if near else "extrapolated"
        return Estimate(self.curve.at(terms, place), basis, len(self.seconds))


@dataclass(frozen=True)
class Sheet:
    """The part of the table for a Loss on one machine and device in one dtype.

    Attributes:
        machine: the machine that was measured.
        measured: the day of the newest measurement, ISO 8601.
        device: the device type, ``cpu`` or ``cuda``.
        dtype: the dtype of embeddings and parameters, as in ``float32``.
        torch: the version of torch that the machine measured with.
        variants: the measurements by variant.
    """

    machine: str
    measured: str
    device: str
    dtype: str
    torch: str
    variants: Mapping[str, Shipped]

    def complete(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """Return a size with the axes that are not known: the largest batch, the usual others."""
        sizes = [size for each in self.variants.values() for size in each.seconds]
        columns = dict(zip(AXES, zip(*sizes, strict=True), strict=True))
        usual = {axis: int(median(column)) for axis, column in columns.items()}
        # A wrong choice costs most at the largest batch.
        return {**usual, "batch": max(columns["batch"]), **wanted}

    def estimates(self, loss: Loss, size: Mapping[str, int]) -> dict[str, Estimate]:
        """Return the time of a step by variant.

        Where some variants are measured or within reach of their sizes, the others are left out.
        """
        dtype: torch.dtype = getattr(torch, self.dtype)
        place, exact = place_of(loss, size), tuple(size[axis] for axis in AXES)
        terms = terms_of_time(loss, size, dtype.itemsize)
        found = {name: each.estimate(exact, terms, place) for name, each in self.variants.items()}
        near = {name: each for name, each in found.items() if each.basis != "extrapolated"}
        return near or found


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files(__package__).joinpath(TABLE).read_text())
    return table


@cache
def recommendations() -> Mapping[str, tuple[Sheet, ...]]:
    """Return the shipped table, by Loss."""
    known = {each.name: each for each in losses()}
    return {
        name: tuple(parse_sheet(known[name], sheet) for sheet in sheets)
        for name, sheets in _table()["losses"].items()
        if name in known
    }


def proven_releases() -> tuple[str, ...]:
    """Return the releases of torch on which the proven variants of the table are right."""
    return tuple(_table()["proven_on"])


def parse_sheet(loss: Loss, sheet: Mapping[str, Any]) -> Sheet:
    """Return a sheet of the table's JSON."""
    variants = {name: _parse_entry(loss, entry) for name, entry in sheet["variants"].items()}
    return Sheet(**{**sheet, "variants": variants})


def _parse_entry(loss: Loss, entry: Mapping[str, Any]) -> Shipped:
    sizes = [dict(zip(AXES, size, strict=True)) for size in entry["sizes"]]
    places = tuple(place_of(loss, size) for size in sizes)
    return Shipped(
        seconds=dict(zip(map(tuple, entry["sizes"]), entry["seconds"], strict=True)),
        curve=CostCurve(tuple(entry["curve"]), places, tuple(entry["corrections"])),
        modelled=entry["modelled"],
        proven=entry["proven"],
        worse=tuple(entry["worse"]),
    )
