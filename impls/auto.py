"""Build a Loss for production, in the variant that the user names or measurements recommend.

``lossbench.build("arcface", batch=256, num_classes=1000, embedding_dim=512)`` chooses the variant
that ``lossbench choose`` chooses, from the records in ``recommended.json`` and by the same rules;
``module.choice`` names the variant, the reason, and what a wider choice would bring.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from lossbench.impls.admission import AUTO
from lossbench.impls.estimate import preferred_order
from lossbench.impls.recommended import (
    Estimate,
    Sheet,
    Shipped,
    proven_releases,
    recommendations,
)
from lossbench.impls.registry import implementation, implementations
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
class _Wish:
    """What a variant must run on, the outputs that it must compute, and what it may need."""

    device: str
    dtype: torch.dtype
    needs: tuple[str, ...]
    compiled: bool = False
    sparse: bool = False

    def missing(self, candidate: Implementation) -> list[str]:
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


def build(
    loss: str,
    variant: str = AUTO,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    validate: bool = True,
    needs: Sequence[str] = (),
    auto: Literal["eager", "compiled"] = "eager",
    sparse: bool = False,
    **arguments: Any,
) -> nn.Module:
    """Return the module of a Loss on a device, with a ``choice`` that explains its variant.

    ``auto`` needs torch alone, and by default an eager variant with dense gradients, as ``lossbench
    choose`` does. At a size without a measurement it uses a fitted model; without any measurement
    of a loss, its reference. ``choice.reason`` says so, and ``choice.passed_over`` names the faster
    variants that were not chosen, what they would bring, and what admits them.

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
        auto: ``compiled`` to let ``auto`` choose a variant that needs torch.compile.
        sparse: whether ``auto`` may choose a variant with sparse gradients, which only SGD and
            SparseAdam take.
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
    _check_auto(variant, auto, sparse=sparse)
    if variant == AUTO:
        wish = _Wish(kind, dtype, tuple(needs), auto == "compiled", sparse)
        choice = _recommend(loss, wish, _wanted(batch, arguments))
    else:
        choice = Choice(loss, variant, "as asked for")
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


def _check_auto(variant: str, auto: str, *, sparse: bool) -> None:
    if auto not in ("eager", "compiled"):
        raise ValueError(f"auto must be 'eager' or 'compiled', got {auto!r}")
    if variant != AUTO and (auto != "eager" or sparse):
        raise ValueError(f"auto and sparse are for variant={AUTO!r}, got variant={variant!r}")


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
    return _chosen(loss, wish, wanted, fitting[0])


def _chosen(loss: str, wish: _Wish, wanted: Mapping[str, int], sheet: Sheet) -> Choice:
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
        PassedOver(name, found[variant].seconds / found[name].seconds, reason)
        for name, reason in refused.items()
        if reason and _first(found, [variant, name]) == name
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
    """Return a ratio to two significant digits: ``1.8 times``."""
    return f"{gain:.1f} times" if gain < 9.95 else f"{float(f'{gain:.2g}'):,.0f} times"
