"""The registry: every Implementation of every Loss, entered once, beside its code."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from lossbench.impls.admission import (
    DEVICES,
    FLOATING_DTYPES,
    check_implementation,
    check_loss,
)
from lossbench.impls.catalogue import CATALOGUE
from lossbench.impls.compiled import COMPILE_MODES, COMPILED_LIMITS, compiled
from lossbench.impls.limits import check_limits
from lossbench.impls.loss import Loss
from lossbench.impls.precision import fit_for_autocast
from lossbench.impls.variant import OLDEST_TORCH, REFERENCE, Implementation

__all__ = [
    "REFERENCE",
    "implementation",
    "implementations",
    "loss",
    "losses",
    "register",
    "register_loss",
]

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

_losses = dict[str, Loss]()
_implementations = dict[str, dict[str, Implementation]]()


def register_loss(loss: Loss) -> Loss:
    """Enter a Loss, and its reference as the first of its Implementations; return the Loss.

    Raises:
        ValueError: if there is a Loss of that name, or nothing could be built or run of this one.
    """
    if loss.name in _losses:
        raise ValueError(f"the loss {loss.name!r} is registered already")
    check_loss(loss)
    check_limits(f"{loss.name} {REFERENCE}", loss.reference_limits)
    _losses[loss.name] = loss
    _implementations[loss.name] = {
        REFERENCE: Implementation(loss, REFERENCE, loss.reference, limits=loss.reference_limits)
    }
    return loss


for _loss in CATALOGUE:
    register_loss(_loss)


def register(
    loss: str,
    variant: str,
    *,
    requires: tuple[str, ...] = (),
    devices: tuple[str, ...] = DEVICES,
    dtypes: tuple[torch.dtype, ...] = FLOATING_DTYPES,
    compiles: bool = False,
    departs: str = "",
    since: tuple[int, int] = OLDEST_TORCH,
    sparse: bool = False,
    limits: Mapping[str, str] | None = None,
) -> Callable[[Builder], Builder]:
    """Enter the decorated class, or function that returns a module, as an Implementation.

    Args:
        loss: the name of the Loss that it computes.
        variant: the name of the way it computes it, such as ``fused``.
        requires: the packages, by import name, that it needs beyond torch.
        devices: the device types that it runs on.
        dtypes: the floating dtypes that it takes.
        compiles: whether torch.compile takes its forward, or the method that its class names as
            ``compiled_method``, as one graph; if so its ``+compile`` variants are entered too.
        departs: the reason why its values cannot be the Loss's; empty if they are.
        since: the first torch release that it runs on.
        sparse: whether a gradient is sparse, which SGD and SparseAdam alone take.
        limits: why it is not fit for a situation of a training loop, by the situation's name in
            ``impls.limits.SITUATIONS``.

    Raises:
        ValueError: if the Loss is unknown or has an Implementation of that variant, a device or
            dtype is unknown, a limit's situation is, or the builder's arguments are not the Loss's.
    """
    variants = _variants(loss)
    if variant in variants:
        raise ValueError(f"{loss}: the variant {variant!r} is registered already")

    def enter(builder: Builder) -> Builder:
        check_limits(f"{loss} {variant}", limits or {})
        check_implementation(
            _losses[loss], variant, builder, devices=devices, dtypes=dtypes, requires=requires
        )
        if isinstance(builder, type):
            # On the class: a hook on each module would cost small batches some percents.
            builder.forward = fit_for_autocast(builder.forward)  # type: ignore[attr-defined]
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
            limits=limits or {},
        )
        variants[variant] = entered
        for suffix, (mode, where) in COMPILE_MODES.items() if compiles else ():
            variants[variant + suffix] = replace(
                entered,
                variant=variant + suffix,
                builder=compiled(builder, mode),
                devices=tuple(device for device in where if device in devices),
                mode=mode,
                limits={**entered.limits, **COMPILED_LIMITS},
            )
        return builder

    return enter


def losses() -> tuple[Loss, ...]:
    """Return every Loss: the catalogue in its order, then those registered since."""
    return tuple(_losses.values())


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


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Take back all that was registered in the block, if it raises."""
    kept_losses = dict(_losses)
    kept_variants = {name: dict(variants) for name, variants in _implementations.items()}
    try:
        yield
    except BaseException:
        _losses.clear()
        _losses.update(kept_losses)
        _implementations.clear()
        _implementations.update(kept_variants)
        raise


def _variants(loss: str) -> dict[str, Implementation]:
    if loss not in _implementations:
        raise ValueError(f"unknown loss {loss!r}; the losses are: {', '.join(_implementations)}")
    return _implementations[loss]
