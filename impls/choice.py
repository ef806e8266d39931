"""Choose the variant of a Loss from the shipped table, by the rules of ``lossbench choose``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from lossbench.impls.estimate import is_gain, preferred_order
from lossbench.impls.recommended import (
    Estimate,
    Sheet,
    Shipped,
    proven_releases,
    recommendations,
)
from lossbench.impls.registry import implementations
from lossbench.impls.torch_release import release_of, release_text, running_release
from lossbench.impls.variant import REFERENCE, Implementation


@dataclass(frozen=True)
class PassedOver:
    """A faster variant that ``auto`` did not choose.

    Attributes:
        variant: the name of the variant.
        gain: the chosen variant's time of a step over its time.
        reason: the reason, and what admits it if anything does.
    """

    variant: str
    gain: float
    reason: str

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.variant} would be {_times(self.gain)} as fast, but {self.reason}"


@dataclass(frozen=True)
class Choice:
    """The variant of a module, and the reason for it.

    Attributes:
        loss: the name of the Loss.
        variant: the name of the variant.
        reason: the reason for the choice, in one line.
        machine: the machine that was measured; empty if no measurement led to the choice.
        measured: the day of the measurement, ISO 8601; empty without one.
        size: the size that was chosen for by axis, ``batch``, ``dim``, ``classes``; empty without
            a measurement.
        passed_over: the faster variants that were not chosen, the fastest first.
    """

    loss: str
    variant: str
    reason: str
    machine: str = ""
    measured: str = ""
    size: Mapping[str, int] = field(default_factory=dict)
    passed_over: tuple[PassedOver, ...] = ()

    def __str__(self) -> str:
        """Return the choice, and what was passed over, one per line."""
        return "\n  ".join(
            [f"{self.loss}: {self.variant}, {self.reason}", *map(str, self.passed_over)]
        )


@dataclass(frozen=True)
class Wish:
    """What a variant must run on, the outputs that it must compute, and what it may need.

    Attributes:
        device: the device type.
        dtype: the dtype of the parameters.
        needs: the outputs that it must compute.
        compiled: permission to choose a variant that needs torch.compile.
        sparse: permission to choose a variant with sparse gradients.
    """

    device: str
    dtype: torch.dtype
    needs: tuple[str, ...]
    compiled: bool = False
    sparse: bool = False

    def missing(self, candidate: Implementation) -> list[str]:
        """Return the needed outputs that a variant does not compute."""
        return [name for name in self.needs if name not in candidate.outputs]

    def refusal(self, candidate: Implementation) -> str | None:
        """Return why a variant cannot be taken, to be read after its name; ``None`` if it can."""
        missing = self.missing(candidate)
        if missing:
            return f"does not compute {', '.join(missing)}"
        return candidate.unsupported(self.device, self.dtype)

    def passes_over(self, candidate: Implementation, shipped: Shipped, measured: str) -> str | None:
        """Return why ``auto`` does not choose a variant; ``None`` if it may.

        Args:
            candidate: the variant.
            shipped: its measurements.
            measured: the version of torch that measured it.
        """
        if candidate.requires:
            return f"needs {', '.join(candidate.requires)}: name it to build it"
        if candidate.compiled and not self.compiled:
            return 'needs torch.compile: auto="compiled" admits it'
        if candidate.sparse and not self.sparse:
            return "has sparse gradients: sparse=True admits it"
        if shipped.worse:
            return f"is worse than the reference on {', '.join(shipped.worse)}: name it to build it"
        here = running_release()
        if not (shipped.proven and not candidate.compiled) and release_of(measured) != here:
            return f"is not proven on torch {release_text(here)}: `lossbench compat` proves it"
        reason = self.refusal(candidate)
        return f"it {reason}" if reason else None


def recommend(loss: str, wish: Wish, wanted: Mapping[str, int]) -> Choice:
    """Return the variant to use by the shipped table; without any sheet of the Loss, its reference.

    Args:
        loss: the name of the Loss.
        wish: the device, the dtype, and what the variant may need.
        wanted: the known part of the size, by axis.

    Raises:
        ValueError: if the table has nothing for this device and dtype, or nothing that runs here.
    """
    device, word = wish.device, str(wish.dtype).removeprefix("torch.")
    sheets = recommendations().get(loss, ())
    if not sheets:
        why = f"as nobody has measured this loss; `lossbench choose {loss} --measure` does"
        return Choice(loss, REFERENCE, why)
    fitting = [sheet for sheet in sheets if (sheet.device, sheet.dtype) == (device, word)]
    if not fitting:
        kinds = ", ".join(sorted({f"{sheet.device} {sheet.dtype}" for sheet in sheets}))
        finds = f"`lossbench choose {loss} --device {device} --dtype {word} --measure`"
        if device == "cuda" and not torch.cuda.is_available():
            finds += " on a machine with a GPU"
        raise ValueError(
            f"{loss}: nothing is recommended for {device} {word}, only for {kinds}; name a "
            f"variant; {finds} finds one"
        )
    return choose_from(loss, wish, wanted, fitting[0])


def choose_from(loss: str, wish: Wish, wanted: Mapping[str, int], sheet: Sheet) -> Choice:
    """Return the variant to use by one sheet.

    Args:
        loss: the name of the Loss.
        wish: the device, the dtype, and what the variant may need.
        wanted: the known part of the size, by axis.
        sheet: the measurements to choose from.

    Raises:
        ValueError: if none of the measured variants runs here.
    """
    size = sheet.complete(wanted)
    known = {each.variant: each for each in implementations(loss)}
    found = sheet.estimates(known[REFERENCE].loss, size)
    refused = {
        name: wish.passes_over(known[name], sheet.variants[name], sheet.torch)
        for name in found
        if name in known
    }
    left = [name for name, reason in refused.items() if reason is None]
    if not left:
        reasons = "; ".join(f"{name} {reason}" for name, reason in refused.items())
        raise ValueError(f"{loss}: of what is recommended nothing runs here: {reasons}")
    variant = _first(found, left)
    passed_over = [
        PassedOver(name, gain, reason)
        for name, reason in refused.items()
        if reason and is_gain(gain := found[variant].seconds / found[name].seconds)
        if _first(found, [variant, name]) == name
    ]
    return Choice(
        loss,
        variant,
        ", ".join(_why(sheet, variant, found, size, wanted)),
        sheet.machine,
        sheet.measured,
        size,
        tuple(sorted(passed_over, key=lambda each: -each.gain)),
    )


def _first(found: Mapping[str, Estimate], names: Sequence[str]) -> str:
    """Return the variant to use of several."""
    seconds = {name: found[name].seconds for name in names}
    modelled = [name for name in names if found[name].basis != "measured"]
    return preferred_order(seconds, modelled=modelled)[0]


def _why(
    sheet: Sheet,
    variant: str,
    found: Mapping[str, Estimate],
    size: Mapping[str, int],
    wanted: Mapping[str, int],
) -> Iterator[str]:
    at = ", ".join(f"{axis} {size[axis]}" for axis in wanted or size)
    chosen, reference = found[variant], found.get(REFERENCE)
    if variant == REFERENCE or reference is None:
        yield f"the fastest at {at} on {sheet.machine}"
    else:
        gain = reference.seconds / chosen.seconds
        yield f"{_times(gain)} as fast as the reference at {at} on {sheet.machine}"
    if chosen.basis != "measured":
        yield f"{chosen.basis} from {chosen.sizes} measured size{'s' * (chosen.sizes > 1)}"
    yield from _about_torch(sheet)
    if "batch" not in wanted:
        yield "no batch was given"


def _about_torch(sheet: Sheet) -> Iterator[str]:
    """Yield what must be told of a torch that was not measured, or that nothing is proven on."""
    here = running_release()
    if here != release_of(sheet.torch):
        yield f"measured with torch {release_text(release_of(sheet.torch))}"
    proven = proven_releases()
    if release_text(here) not in proven:
        known = f"right on torch {', '.join(proven)}, not tried on {release_text(here)}"
        yield f"{known}: `lossbench compat` tries it"


def _times(gain: float) -> str:
    """Return a ratio to two significant digits, and near 1 to three: ``1.8 times``."""
    if gain >= 9.95:
        return f"{float(f'{gain:.2g}'):,.0f} times"
    return f"{gain:.1f} times" if gain >= 1.095 else f"{gain:.2f} times"
