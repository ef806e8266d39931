"""The registry: every Implementation of every Loss, entered once, beside its code."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from lossbench.impls.catalogue import CATALOGUE
from lossbench.impls.checks import InputCheck, check_arguments
from lossbench.impls.compiled import MODES, cannot_compile, compiled, is_compiled
from lossbench.impls.loss import Loss

DEVICES = ("cpu", "cuda")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
REFERENCE = "reference"
# The oldest that the distribution's metadata admits.
OLDEST_TORCH = (2, 11)

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class Implementation:
    """One way to compute a Loss.

    Attributes:
        loss: what it computes.
        variant: how, in a word: ``reference``, ``vectorized``, ...
        builder: makes the module from the Loss's arguments.
        requires: the packages, by import name, that it needs beyond torch.
        devices: the device types that it runs on.
        dtypes: the floating dtypes that it takes.
        departs: why its values cannot be the Loss's, where they are not; empty where they are.
        mode: torch.compile's, of a ``+compile`` variant; empty of any other.
        since: the first torch release that it runs on.
        sparse: whether a gradient is sparse, which SGD and SparseAdam alone take.
    """

    loss: Loss
    variant: str
    builder: Callable[..., nn.Module]
    requires: tuple[str, ...] = ()
    devices: tuple[str, ...] = DEVICES
    dtypes: tuple[torch.dtype, ...] = DTYPES
    departs: str = ""
    mode: str = ""
    since: tuple[int, int] = OLDEST_TORCH
    sparse: bool = False

    @property
    def compiled(self) -> bool:
        """Whether torch.compile makes its code."""
        return is_compiled(self.variant)

    def unsupported(self, device: str, dtype: torch.dtype) -> str | None:
        """Return why it cannot run here on a device type in a dtype, or ``None`` where it can."""
        for package in self.requires:
            if importlib.util.find_spec(package) is None:
                return f"needs the package {package}, which is not installed"
        major, minor = torch.__version__.split(".")[:2]
        if (int(major), int(minor)) < self.since:
            needed = ".".join(map(str, self.since))
            return f"needs torch {needed} or later, this is {torch.__version__}"
        if device not in self.devices:
            return f"runs on {', '.join(self.devices)}, not on {device}"
        if dtype not in self.dtypes:
            return f"takes {', '.join(map(str, self.dtypes))}, not {dtype}"
        if device == "cuda" and not torch.cuda.is_available():
            return f"torch {torch.__version__} finds no CUDA device here"
        return cannot_compile(device) if self.compiled else None

    def build(self, *, validate: bool = True, **arguments: Any) -> nn.Module:
        """Return the module, in the initial state that the reference has under the same seed.

        Args:
            validate: refuse inputs that the Loss does not define, at some microseconds a call;
                without it they give whatever torch makes of them.
            **arguments: the Loss's arguments; those left out take the document's values.

        Raises:
            ValueError: where an argument is unknown, missing or out of its bounds.
        """
        complete = check_arguments(self.loss, arguments)
        # Before the builder, which may draw random numbers of its own.
        initial = self.loss.reference(**complete)
        if self.variant == REFERENCE:
            module = initial
        else:
            module = self.builder(**complete)
            module.load_state_dict(initial.state_dict())
        if validate:
            module.register_forward_pre_hook(InputCheck(self.loss, complete), with_kwargs=True)
        return module


_losses = {loss.name: loss for loss in CATALOGUE}
_implementations = {
    name: {REFERENCE: Implementation(loss, REFERENCE, loss.reference)}
    for name, loss in _losses.items()
}


def register(
    loss: str,
    variant: str,
    *,
    requires: tuple[str, ...] = (),
    devices: tuple[str, ...] = DEVICES,
    dtypes: tuple[torch.dtype, ...] = DTYPES,
    compiles: bool = False,
    departs: str = "",
    since: tuple[int, int] = OLDEST_TORCH,
    sparse: bool = False,
) -> Callable[[Builder], Builder]:
    """Enter the decorated class, or function that returns a module, as an Implementation.

    Args:
        loss: the name of what it computes.
        variant: how, in a word.
        requires: the packages, by import name, that it needs beyond torch.
        devices: the device types that it runs on.
        dtypes: the floating dtypes that it takes.
        compiles: whether torch.compile takes its forward, or the method that its class names as
            ``compiled_method``, as one graph; if so its ``+compile`` variants are entered too.
        departs: why its values cannot be the Loss's, where they are not.
        since: the first torch release that it runs on.
        sparse: whether a gradient is sparse, which SGD and SparseAdam alone take.

    Raises:
        ValueError: where the Loss is unknown, or has an Implementation of that variant.
    """
    variants = _variants(loss)
    if variant in variants:
        raise ValueError(f"{loss}: the variant {variant!r} is registered already")

    def enter(builder: Builder) -> Builder:
        entered = Implementation(
            _losses[loss],
            variant,
            builder,
            requires=requires,
            devices=devices,
            dtypes=dtypes,
            departs=departs,
            since=since,
            sparse=sparse,
        )
        variants[variant] = entered
        for suffix, (mode, where) in MODES.items() if compiles else ():
            variants[variant + suffix] = replace(
                entered,
                variant=variant + suffix,
                builder=compiled(builder, mode),
                devices=tuple(device for device in where if device in devices),
                mode=mode,
            )
        return builder

    return enter


def losses() -> tuple[Loss, ...]:
    """Return every Loss, in catalogue order."""
    return CATALOGUE


def loss(name: str) -> Loss:
    """Return the Loss of that name.

    Raises:
        ValueError: where there is none; the message lists those there are.
    """
    _variants(name)
    return _losses[name]


def implementations(loss: str) -> tuple[Implementation, ...]:
    """Return the Implementations of a Loss, the reference first.

    Raises:
        ValueError: where there is no such Loss; the message lists those there are.
    """
    return tuple(_variants(loss).values())


def implementation(loss: str, variant: str) -> Implementation:
    """Return one Implementation.

    Raises:
        ValueError: where there is no such Loss or variant; the message lists those there are.
    """
    variants = _variants(loss)
    if variant not in variants:
        raise ValueError(f"{loss} has no variant {variant!r}; it has: {', '.join(variants)}")
    return variants[variant]


def _variants(loss: str) -> dict[str, Implementation]:
    if loss not in _implementations:
        raise ValueError(f"unknown loss {loss!r}; the losses are: {', '.join(_implementations)}")
    return _implementations[loss]
