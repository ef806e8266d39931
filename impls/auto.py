"""The one door for production: a Loss built in the variant that is asked for, or recommended.

``impls.build("arcface", batch=256, num_classes=1000, embedding_dim=512)`` takes the variant from
``recommended.json``, which was written from measurements; ``module.choice`` says which and why.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import nn

from lossbench.impls.registry import REFERENCE, implementation, implementations

AUTO = "auto"
TABLE = "recommended.json"


@dataclass(frozen=True)
class Choice:
    """Why a module is the variant that it is.

    Attributes:
        loss: what it computes.
        variant: how.
        reason: in a line.
        machine: whose measurements recommend it; empty where it was asked for.
        measured: the day of these, ISO 8601; empty likewise.
        size: the measured size that was taken, by axis: ``batch``, ``dim``, ``classes``; empty
            likewise.
    """

    loss: str
    variant: str
    reason: str
    machine: str
    measured: str
    size: Mapping[str, int]

    def __str__(self) -> str:
        """Return it in a line."""
        return f"{self.loss}: {self.variant}, {self.reason}"


@dataclass(frozen=True)
class Recommendation:
    """One line of the table: what to take for a Loss at one measured size.

    Attributes:
        machine: where it was measured.
        measured: on which day, ISO 8601.
        device: its type, ``cpu`` or ``cuda``.
        dtype: of embeddings and parameters, ``float32``.
        batch: B.
        dim: D.
        classes: C.
        variants: those that are faster than the reference, the fastest first; then the reference.
        speedups: of each over the reference.
    """

    machine: str
    measured: str
    device: str
    dtype: str
    batch: int
    dim: int
    classes: int
    variants: tuple[str, ...]
    speedups: tuple[float, ...]

    @property
    def size(self) -> dict[str, int]:
        """The size by axis."""
        return {"batch": self.batch, "dim": self.dim, "classes": self.classes}

    def distance(self, wanted: Mapping[str, int]) -> float:
        """Return how far another size is: the root of the squared logarithms of the ratios."""
        return math.hypot(*(math.log(self.size[axis] / size) for axis, size in wanted.items()))


@cache
def recommendations() -> Mapping[str, tuple[Recommendation, ...]]:
    """Return the table that is shipped, by Loss."""
    table = json.loads(files(__package__).joinpath(TABLE).read_text())
    return {name: tuple(map(_parse, lines)) for name, lines in table["losses"].items()}


def _parse(line: dict[str, Any]) -> Recommendation:
    lists = {name: tuple(line[name]) for name in ("variants", "speedups")}
    return Recommendation(**{**line, **lists})


def build(
    loss: str,
    variant: str = AUTO,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    validate: bool = True,
    **arguments: Any,
) -> nn.Module:
    """Return the module of a Loss on a device, with a ``choice`` that explains its variant.

    ``auto`` needs torch alone: third parties, compiled variants, and those whose gradients are
    sparse are taken where they are asked for. Where the table has another size only, the nearest is
    taken, and ``choice.reason`` says so.

    Args:
        loss: its name.
        variant: which; ``auto`` for the one that is recommended.
        device: where it will run.
        dtype: of its parameters; float32 also where autocast will lower it.
        batch: B, samples a step, for ``auto``; it may be left out.
        validate: refuse inputs that the Loss does not define, at some microseconds a call.
        **arguments: the Loss's arguments; those left out take the document's values.

    Raises:
        ValueError: where there is no such Loss or variant, the variant cannot run here, an argument
            is wrong, or nothing is recommended for this device and dtype.
    """
    kind = torch.device(device).type
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be 1 or more, got {batch}")
    if variant == AUTO:
        choice = _recommend(loss, kind, dtype, _wanted(batch, arguments))
    else:
        choice = Choice(loss, variant, "as asked for", "", "", {})
        reason = implementation(loss, variant).unsupported(kind, dtype)
        if reason is not None:
            raise ValueError(f"{loss}: {variant} {reason}")
    module = implementation(loss, choice.variant).build(validate=validate, **arguments)
    module.choice = choice  # type: ignore[assignment]
    return module.to(device, dtype)


def _wanted(batch: int | None, arguments: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes that are known of what is built; impossible ones are told elsewhere."""
    sizes = {
        "batch": batch,
        "dim": arguments.get("embedding_dim"),
        "classes": arguments.get("num_classes"),
    }
    return {axis: n for axis, n in sizes.items() if isinstance(n, int) and n > 0}


def _recommend(loss: str, device: str, dtype: torch.dtype, wanted: Mapping[str, int]) -> Choice:
    # An unknown Loss is told as such.
    implementations(loss)
    lines = recommendations().get(loss, ())
    word = str(dtype).removeprefix("torch.")
    fitting = [line for line in lines if (line.device, line.dtype) == (device, word)]
    if not fitting:
        kinds = ", ".join(sorted({f"{line.device} {line.dtype}" for line in lines})) or "nothing"
        raise ValueError(
            f"{loss}: nothing is recommended for {device} {word}, only for {kinds}; name a "
            f"variant; `lossbench choose {loss} --device {device} --dtype {word}` finds"
        )
    # Without a batch the largest of those that are as near: there the choice costs most.
    line = min(fitting, key=lambda line: (line.distance(wanted), -line.batch))
    passed_over = list[str]()
    for variant in line.variants:
        reason = implementation(loss, variant).unsupported(device, dtype)
        if reason is None:
            why = ", ".join([*_why(line, variant, wanted), *passed_over])
            return Choice(loss, variant, why, line.machine, line.measured, line.size)
        passed_over.append(f"{variant} passed over: it {reason}")
    raise ValueError(f"{loss}: of what is recommended nothing runs here: {'; '.join(passed_over)}")


def _why(line: Recommendation, variant: str, wanted: Mapping[str, int]) -> Iterator[str]:
    size = ", ".join(f"{axis} {line.size[axis]}" for axis in wanted or line.size)
    if variant == REFERENCE:
        yield f"nothing was clearly faster at {size} on {line.machine}"
    else:
        speedup = line.speedups[line.variants.index(variant)]
        yield f"{speedup:g} times as fast as the reference at {size} on {line.machine}"
    if "batch" not in wanted:
        yield "no batch was given"
    if line.distance(wanted):
        asked = ", ".join(f"{axis} {n}" for axis, n in wanted.items())
        yield f"the measured size nearest to {asked}"
