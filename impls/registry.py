"""The registry of all Losses and Implementations; each is registered once, beside its code."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from lossbench.impls.admission import (
    DEVICES,
    FLOATING_DTYPES,
    StateError,
    check_implementation,
    check_loss,
)
from lossbench.impls.catalogue import CATALOGUE
from lossbench.impls.compiled import COMPILE_MODES, compiled, compiled_limits
from lossbench.impls.guarded import guard_forward
from lossbench.impls.limits import check_limits
from lossbench.impls.loss import Loss
from lossbench.impls.torch_release import OLDEST_TORCH
from lossbench.impls.tracing import let_save_exported
from lossbench.impls.variant import REFERENCE, Implementation

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
    """Register a Loss, and its reference as its first Implementation; return the Loss.

    Raises:
        ValueError: if there is a Loss of that name, or this one could not be built or run.
    """
    if loss.name in _losses:
        raise ValueError(f"the loss {loss.name!r} is registered already")
    check_loss(loss)
    check_limits(f"{loss.name} {REFERENCE}", loss.reference_limits)
    let_save_exported(loss.output)
    _losses[loss.name] = loss
    _implementations[loss.name] = {
        REFERENCE: Implementation(
            loss,
            REFERENCE,
            loss.reference,
            limits=loss.reference_limits,
            takes_options=loss.takes_options,
        )
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
    leaves_out: tuple[str, ...] = (),
    takes_options: bool = False,
    problem: Callable[[], str | None] | None = None,
    refuses_labels: bool = False,
    joins_batches: bool = False,
) -> Callable[[Builder], Builder]:
    """Register the decorated class, or function that returns a module, as an Implementation.

    Args:
        loss: the name of the Loss that it computes.
        variant: the name of the variant, such as ``fused``.
        requires: the packages, by import name, that it needs beyond torch.
        devices: the device types that it runs on.
        dtypes: the floating dtypes that it accepts.
        compiles: whether torch.compile accepts its forward, or the method that its class names as
            ``compiled_method``, as one graph; if so its ``+compile`` variants are registered too.
        departs: the reason why its values differ from the Loss's; empty if they are equal.
        since: the first torch release that it runs on.
        sparse: whether a gradient is sparse, which only a few optimizers accept.
        limits: the reasons why it is not fit for situations of a training loop, by their names in
            ``impls.limits.SITUATIONS``.
        leaves_out: the outputs of the Loss that it does not compute, and returns as ``None``.
        takes_options: whether the builder's module accepts ``F.cross_entropy``'s options: ``build``
            sets its ``options``, an ``EntropyOptions``, if they are not the defaults.
        problem: a function that returns why it can run nowhere on this machine, or ``None``, as for
            code that needs a compiler; such code is not built at import.
        refuses_labels: whether the forward raises an ``IndexError`` or ``RuntimeError`` for every
            label that is no class, on the CPU too, so that nothing else need read the labels.
        joins_batches: whether the batches of a group of processes are joined into one.

    Raises:
        ValueError: if the Loss is unknown or has an Implementation of that variant, a device or
            dtype is unknown, a limit's situation or an output is, or the builder's arguments are
            not the Loss's; or its parameters and buffers are not the reference's, which is checked
            at once if it ``requires`` no package.
    """
    variants = _variants(loss)
    if variant in variants:
        raise ValueError(f"{loss}: the variant {variant!r} is registered already")

    def enter(builder: Builder) -> Builder:
        check_limits(f"{loss} {variant}", limits or {})
        check_implementation(
            _losses[loss],
            variant,
            builder,
            devices=devices,
            dtypes=dtypes,
            requires=requires,
            since=since,
            leaves_out=leaves_out,
            takes_options=takes_options,
        )
        if isinstance(builder, type):
            guard_forward(builder)
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
            leaves_out=leaves_out,
            takes_options=takes_options,
            problem=problem,
            refuses_labels=refuses_labels,
            joins_batches=joins_batches,
        )
        _check_own_state(entered)
        variants[variant] = entered
        for suffix, (mode, where) in COMPILE_MODES.items() if compiles else ():
            variants[variant + suffix] = replace(
                entered,
                variant=variant + suffix,
                builder=compiled(builder, mode),
                devices=tuple(device for device in where if device in devices),
                mode=mode,
                limits={**entered.limits, **compiled_limits(builder)},
            )
        return builder

    return enter


def losses() -> tuple[Loss, ...]:
    """Return every Loss: the catalogue in its order, then the Losses registered later."""
    return tuple(_losses.values())


def loss(name: str) -> Loss:
    """Return the Loss of that name.

    Raises:
        ValueError: if there is none; the message lists the Losses.
    """
    _variants(name)
    return _losses[name]


def implementations(loss: str) -> tuple[Implementation, ...]:
    """Return the Implementations of a Loss, the reference first.

    Raises:
        ValueError: if there is no such Loss; the message lists the Losses.
    """
    return tuple(_variants(loss).values())


def implementation(loss: str, variant: str) -> Implementation:
    """Return one Implementation.

    Raises:
        ValueError: if there is no such Loss or variant; the message lists the choices.
    """
    variants = _variants(loss)
    if variant not in variants:
        raise ValueError(f"{loss} has no variant {variant!r}; it has: {', '.join(variants)}")
    return variants[variant]


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Undo all registrations of the block if it raises."""
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


def _check_own_state(entered: Implementation) -> None:
    """Refuse other parameters or buffers than the Loss's, where building needs no more than torch.

    Any other builder is checked where it is built; importing its package here could take seconds,
    and compiling its code a minute.
    """
    if entered.requires or entered.problem or entered.unsupported("cpu", entered.dtypes[0]):
        return
    try:
        entered.verify()
    except StateError:
        raise
    except Exception:  # noqa: BLE001 - it may take larger sizes; what it raises there is recorded
        return


def _variants(loss: str) -> dict[str, Implementation]:
    if loss not in _implementations:
        raise ValueError(f"unknown loss {loss!r}; the losses are: {', '.join(_implementations)}")
    return _implementations[loss]
