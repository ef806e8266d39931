"""Checks of a Loss and of an Implementation before the registry accepts them.

The checks read names, signatures and shapes and compute nothing, so that importing ``impls`` stays
fast. Every message names the loss and, for an implementation, the variant.
"""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from lossbench.impls.loss import INPUT_NAMES, Loss

DEVICES = ("cpu", "cuda")
FLOATING_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# The word that `impls.build` accepts in place of a variant's name.
AUTO = "auto"
VARIANT_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
# The arguments that a case's size gives (all others need a default), with the values for a module
# that is built only for its names and shapes: the two differ, so that a transposed shape is found.
SIZE_ARGUMENTS: Mapping[str, int] = MappingProxyType({"num_classes": 3, "embedding_dim": 2})
ARGUMENT_TYPES = (bool, int, float)


class StateError(ValueError):
    """A module's parameters or buffers are not those of its Loss."""


def check_loss(loss: Loss) -> None:
    """Refuse a Loss that no case could build or run.

    Raises:
        ValueError: if its name, its reference's arguments or inputs, or its output do not fit.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", loss.name):
        raise ValueError(f"a loss's name is lower case as in 'center_mse', got {loss.name!r}")
    if not (isinstance(loss.reference, type) and issubclass(loss.reference, nn.Module)):
        raise ValueError(f"{loss.name}: reference must be an nn.Module class, {loss.reference!r}")
    for name, parameter in loss.arguments.items():
        if parameter.annotation not in ARGUMENT_TYPES:
            raise ValueError(f"{loss.name}: argument {name!r} must be annotated bool, int or float")
        if parameter.default is inspect.Parameter.empty and name not in SIZE_ARGUMENTS:
            expected = " and ".join(SIZE_ARGUMENTS)
            raise ValueError(
                f"{loss.name}: argument {name!r} needs a default, as all but {expected}"
            )
    if loss.inputs not in INPUT_NAMES:
        raise ValueError(f"{loss.name}: inputs must be {_listed(INPUT_NAMES)}, got {loss.inputs!r}")
    given = tuple(inspect.signature(loss.reference.forward).parameters)[1:]
    if given != loss.input_names:
        expected = ", ".join(loss.input_names)
        raise ValueError(f"{loss.name}: forward must take {expected}, takes {', '.join(given)}")
    if not hasattr(loss.output, "_fields"):
        raise ValueError(f"{loss.name}: output must be a NamedTuple class, got {loss.output!r}")


def check_implementation(
    loss: Loss,
    variant: str,
    builder: Callable[..., nn.Module],
    *,
    devices: Sequence[str],
    dtypes: Sequence[torch.dtype],
    requires: Sequence[str],
    since: tuple[int, int],
    leaves_out: Sequence[str],
    takes_options: bool,
) -> None:
    """Refuse an Implementation that could not be named, built or run.

    Raises:
        ValueError: if its name, devices, dtypes, packages, first release, outputs, options or
            builder's arguments do not fit.
    """
    title = f"{loss.name} {variant}"
    if not isinstance(variant, str) or variant == AUTO or not re.fullmatch(VARIANT_NAME, variant):
        raise ValueError(
            f"{loss.name}: a variant's name has letters, digits and _ . - only, and is not "
            f"{AUTO!r}; got {variant!r}"
        )
    _check_choices(title, "device", devices, DEVICES)
    _check_choices(title, "dtype", dtypes, FLOATING_DTYPES)
    if isinstance(requires, str) or not _are(str, requires):
        raise ValueError(f"{title}: requires must be a tuple of package names, got {requires!r}")
    if not (_are(int, since) and len(since) == 2):
        raise ValueError(f"{title}: since must be a release of torch as (2, 11), got {since!r}")
    if leaves_out:
        # All but the value, which every implementation computes.
        _check_choices(title, "output", leaves_out, loss.outputs[1:])
    if takes_options and not loss.takes_options:
        raise ValueError(f"{title}: the loss takes no options, and so no variant does")
    if not callable(builder) or (isinstance(builder, type) and not issubclass(builder, nn.Module)):
        raise ValueError(
            f"{title}: expected an nn.Module class or a function that returns a module, "
            f"got {builder!r}"
        )
    _check_builder(title, loss, builder)


def check_state(title: str, module: nn.Module, reference: nn.Module) -> None:
    """Refuse a module that cannot exchange its state, or an optimizer's, with the reference.

    Args:
        title: the loss and the variant, for the start of the message.
        module: the implementation, built with the reference's arguments.
        reference: the Loss's reference.

    Raises:
        StateError: if parameters or buffers differ in name or shape, or parameters in order.
    """
    if not isinstance(module, nn.Module):
        raise StateError(f"{title}: its builder must return an nn.Module, got {module!r}")
    expected, given = _parameters(reference), _parameters(module)
    if given != expected:
        raise StateError(
            f"{title}: expected the reference's parameters in its order, {_described(expected)}; "
            f"got {_described(given)}"
        )
    buffers = [dict(_buffers(m, expected)) for m in (reference, module)]
    if buffers[0] != buffers[1]:
        wanted, found = (_described(list(b.items())) for b in buffers)
        raise StateError(f"{title}: expected the reference's buffers, {wanted}; got {found}")


def _check_choices(title: str, what: str, given: Any, choices: Sequence[Any]) -> None:
    if not isinstance(given, Collection) or isinstance(given, str) or not given:
        raise ValueError(f"{title}: {what}s must be a tuple of {_listed(choices)}, got {given!r}")
    for each in given:
        if each not in choices:
            raise ValueError(
                f"{title}: unknown {what} {each!r}; the {what}s are: {_listed(choices)}"
            )


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, Collection) and all(isinstance(each, kind) for each in values)


def _check_builder(title: str, loss: Loss, builder: Callable[..., nn.Module]) -> None:
    expected = loss.arguments
    taken, takes_any = _signature(builder)
    if takes_any:
        expected = {name: p for name, p in expected.items() if name in taken}
    if list(taken) != list(expected):
        raise ValueError(
            f"{title}: its builder must take the loss's arguments, {_listed(loss.arguments)}; "
            f"it takes {_listed(taken)}"
        )
    for name, parameter in taken.items():
        wanted = expected[name].default
        if parameter.default not in (inspect.Parameter.empty, wanted):
            reference = "has none" if wanted is inspect.Parameter.empty else f"is {wanted!r}"
            raise ValueError(
                f"{title}: {name} is {parameter.default!r} by default, the reference's {reference}"
            )


def _signature(builder: Callable[..., nn.Module]) -> tuple[Mapping[str, inspect.Parameter], bool]:
    """Return a builder's named arguments, and whether it accepts others by ``**``."""
    # A module without a constructor has nn.Module's, which accepts any argument and then raises.
    if isinstance(builder, type):
        constructed_by = next(c for c in builder.__mro__ if "__init__" in vars(c))
        if constructed_by is nn.Module:
            return {}, False
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(builder).parameters
    except ValueError:
        # Functions written in C may show no arguments.
        parameters = {}
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {name: p for name, p in parameters.items() if p.kind not in starred}
    return named, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def _parameters(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(parameter.shape)) for name, parameter in module.named_parameters()]


def _buffers(
    module: nn.Module, parameters: Sequence[tuple[str, tuple[int, ...]]]
) -> list[tuple[str, tuple[int, ...]]]:
    """Return the entries of a ``state_dict`` that are not parameters."""
    names = {name for name, _ in parameters}
    state = module.state_dict()
    return [(name, tuple(t.shape)) for name, t in state.items() if name not in names]


def _described(tensors: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in tensors) or "none"


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"
