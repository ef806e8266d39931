"""Build a Loss for production, in the variant that the user names or measurements recommend.

``lossbench.build("arcface", batch=256, num_classes=1000, embedding_dim=512)`` reads the variant
from ``recommended.json``, which was written from measurements; ``module.choice`` names the variant
and the reason.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import nn

from lossbench.impls.admission import AUTO
from lossbench.impls.registry import implementation, implementations
from lossbench.impls.torch_release import release_of, release_text, running_release
from lossbench.impls.variant import REFERENCE, Implementation

TABLE = "recommended.json"


@dataclass(frozen=True)
class Choice:
    """The variant of a module, and the reason for it.

    Attributes:
        loss: the name of the Loss.
        variant: the name of the variant.
        reason: the reason for the choice, in one line.
        machine: the machine that was measured; empty if no measurement led to the choice.
        measured: the day of the measurement, ISO 8601; empty without one.
        size: the measured size by axis, ``batch``, ``dim``, ``classes``; empty without one.
    """

    loss: str
    variant: str
    reason: str
    machine: str
    measured: str
    size: Mapping[str, int]

    def __str__(self) -> str:
        """Return the choice in one line."""
        return f"{self.loss}: {self.variant}, {self.reason}"


@dataclass(frozen=True)
class Recommendation:
    """One line of the table: the variants to use for a Loss at one measured size.

    Attributes:
        machine: the machine that was measured.
        measured: the day of the measurement, ISO 8601.
        device: the device type, ``cpu`` or ``cuda``.
        dtype: the dtype of embeddings and parameters, as in ``float32``.
        batch: the number of samples, B.
        dim: the length of an embedding, D.
        classes: the number of classes, C.
        variants: the variants faster than the reference, the fastest first; then the reference.
        speedups: the speed-up of each variant over the reference.
        torch: the versions of torch that the machine measured with.
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
    torch: tuple[str, ...]

    @property
    def size(self) -> dict[str, int]:
        """The size by axis."""
        return {"batch": self.batch, "dim": self.dim, "classes": self.classes}

    def distance(self, wanted: Mapping[str, int]) -> float:
        """Return the distance to a size: the root of the summed squared logarithms of ratios."""
        return math.hypot(*(math.log(self.size[axis] / size) for axis, size in wanted.items()))


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files(__package__).joinpath(TABLE).read_text())
    return table


@cache
def recommendations() -> Mapping[str, tuple[Recommendation, ...]]:
    """Return the shipped table, by Loss."""
    return {name: tuple(map(_parse, lines)) for name, lines in _table()["losses"].items()}


def proven_releases() -> tuple[str, ...]:
    """Return the releases of torch on which each variant of the table is proven right."""
    return tuple(_table()["proven_on"])


def _parse(line: dict[str, Any]) -> Recommendation:
    lists = {name: tuple(line[name]) for name in ("variants", "speedups")}
    versions = tuple(_table()["machines"][line["machine"]]["torch"])
    return Recommendation(**{**line, **lists}, torch=versions)


@dataclass(frozen=True)
class _Wish:
    """What a variant must run on, and the outputs that it must compute."""

    device: str
    dtype: torch.dtype
    needs: tuple[str, ...]

    def missing(self, candidate: Implementation) -> list[str]:
        return [name for name in self.needs if name not in candidate.outputs]

    def refusal(self, candidate: Implementation) -> str | None:
        """Return why a variant cannot be taken, to be read after its name; ``None`` if it can."""
        missing = self.missing(candidate)
        if missing:
            return f"does not compute {', '.join(missing)}"
        return candidate.unsupported(self.device, self.dtype)


def build(
    loss: str,
    variant: str = AUTO,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    validate: bool = True,
    needs: Sequence[str] = (),
    **arguments: Any,
) -> nn.Module:
    """Return the module of a Loss on a device, with a ``choice`` that explains its variant.

    ``auto`` needs torch alone: it never chooses a third party, a compiled variant, or a variant
    with sparse gradients; name one to build it. Without a measurement at this size, ``auto`` uses
    the nearest size; without any measurement of a loss, its reference. ``choice.reason`` says so.

    The module of a classification loss has ``logits(embeddings)``, ``[B, C]``, in every variant:
    what the loss takes the softmax of, its scale included, but without labels and so without a
    margin. It moves no state, and is for inference; the ``logits`` of a call have the margin.

    Args:
        loss: the name of the Loss.
        variant: the name of the variant; ``auto`` uses the recommended one.
        device: the device that it will run on.
        dtype: the dtype of its parameters; float32 if autocast lowers it during training.
        batch: the number of samples per step, B, for ``auto``; optional.
        validate: whether to refuse inputs that the Loss does not define; it costs a few
            microseconds per call.
        needs: the outputs that the caller reads, such as ``("logits",)``; ``auto`` skips a variant
            that returns ``None`` for one of them, and such a variant is refused by its name.
        **arguments: the Loss's arguments, and of a cross-entropy the options of
            ``F.cross_entropy``, with its meaning: ``ignore_index``, by default ``None``, which
            leaves out no sample; ``label_smoothing``, under which the fused variants make all
            logits at once; ``class_weights``, its ``weight``; and ``reduction``. Those left out
            take the document's values.

    Raises:
        ValueError: if there is no such Loss, variant or output, the variant cannot run here or
            does not compute what is needed, an argument is wrong, or nothing is recommended for
            this device and dtype.
    """
    kind = torch.device(device).type
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be 1 or more, got {batch}")
    _check_outputs(loss, needs)
    if variant == AUTO:
        choice = _recommend(loss, _Wish(kind, dtype, tuple(needs)), _wanted(batch, arguments))
    else:
        choice = Choice(loss, variant, "as asked for", "", "", {})
        _check_variant(loss, variant, _Wish(kind, dtype, tuple(needs)))
    module = implementation(loss, choice.variant).build(validate=validate, **arguments)
    module.choice = choice  # type: ignore[assignment]
    return module.to(device, dtype)


def _check_outputs(loss: str, needs: Sequence[str]) -> None:
    # This reports an unknown Loss.
    known = implementations(loss)[0].loss.outputs
    if isinstance(needs, str):
        raise ValueError(f"{loss}: needs must be a tuple of {', '.join(known)}, got {needs!r}")
    for name in needs:
        if name not in known:
            raise ValueError(f"{loss} has no output {name!r}; it has: {', '.join(known)}")


def _check_variant(loss: str, variant: str, wish: _Wish) -> None:
    candidate = implementation(loss, variant)
    reason = wish.refusal(candidate)
    if reason is None:
        return
    if wish.missing(candidate):
        able = [each.variant for each in implementations(loss) if not wish.refusal(each)]
        reason += f"; take one that does: {', '.join(able)}"
    raise ValueError(f"{loss}: {variant} {reason}")


def _wanted(batch: int | None, arguments: Mapping[str, Any]) -> dict[str, int]:
    """Return the known sizes of the module; others check the arguments and refuse wrong ones."""
    sizes = {
        "batch": batch,
        "dim": arguments.get("embedding_dim"),
        "classes": arguments.get("num_classes"),
    }
    return {axis: n for axis, n in sizes.items() if isinstance(n, int) and n > 0}


def _recommend(loss: str, wish: _Wish, wanted: Mapping[str, int]) -> Choice:
    device, dtype = wish.device, wish.dtype
    lines = recommendations().get(loss, ())
    word = str(dtype).removeprefix("torch.")
    if not lines:
        why = f"as nobody has measured this loss; `lossbench choose {loss}` does"
        return Choice(loss, REFERENCE, why, "", "", {})
    fitting = [line for line in lines if (line.device, line.dtype) == (device, word)]
    if not fitting:
        kinds = ", ".join(sorted({f"{line.device} {line.dtype}" for line in lines}))
        raise ValueError(
            f"{loss}: nothing is recommended for {device} {word}, only for {kinds}; name a "
            f"variant; `lossbench choose {loss} --device {device} --dtype {word}` finds one"
        )
    # Without a batch, several lines may be nearest; a wrong choice costs most at the largest batch.
    line = min(fitting, key=lambda line: (line.distance(wanted), -line.batch))
    passed_over = list[str]()
    for variant in line.variants:
        reason = wish.refusal(implementation(loss, variant))
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
    yield from _about_torch(line)
    if "batch" not in wanted:
        yield "no batch was given"
    if line.distance(wanted):
        asked = ", ".join(f"{axis} {n}" for axis, n in wanted.items())
        yield f"the measured size nearest to {asked}"


def _about_torch(line: Recommendation) -> Iterator[str]:
    """Yield what must be told of a torch that was not measured, or that nothing is proven on."""
    here = running_release()
    measured = sorted(set(map(release_of, line.torch)))
    if here not in measured:
        yield f"measured with torch {', '.join(map(release_text, measured))}"
    proven = proven_releases()
    if release_text(here) not in proven:
        known = f"right on torch {', '.join(proven)}, not tried on {release_text(here)}"
        yield f"{known}: `lossbench compat` tries it"
