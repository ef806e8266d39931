"""Adapt a user's module to a Loss: rename its parameters, and wrap its result."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lossbench.impls.loss import Loss
from lossbench.impls.registry import loss as loss_of

TRANSPOSED = ".T"


def adapt(loss: str, module: nn.Module, **parameters: str) -> nn.Module:
    """Return a module that computes a Loss with another module, under the Loss's names.

    ``adapt("arcface", MyArcFace(1000, 512), weight="W.T")``: the Loss's ``weight [D, C]`` replaces
    the module's ``W [C, D]``; the module sees it transposed.

    Args:
        loss: the name of the Loss.
        module: the module to call with the Loss's inputs in their order; it returns the loss, or a
            tuple of the Loss's first outputs; the others become ``None``.
        **parameters: the name of the module's parameter, such as ``head.W``, for each parameter of
            the Loss in the Loss's order; ``head.W.T`` if it is transposed.

    Raises:
        ValueError: if there is no such Loss, or the module has no such parameter.
    """
    return Adapted(loss_of(loss), module, parameters)


class Adapted(nn.Module):
    """A Loss that is computed by a module with other parameter names.

    The module's own parameters are deleted; during each call this module's stand in their place.

    Attributes:
        module: the module that computes the loss.
    """

    def __init__(self, loss: Loss, module: nn.Module, parameters: Mapping[str, str]) -> None:
        super().__init__()
        self._output, self._inputs = loss.output, loss.input_names
        self._places = []
        for name, source in parameters.items():
            path, transposed = source.removesuffix(TRANSPOSED), source.endswith(TRANSPOSED)
            own = dict(module.named_parameters())
            if path not in own:
                known = ", ".join(own) or "none"
                raise ValueError(f"{type(module).__name__} has no parameter {path!r}, only {known}")
            value = own[path].detach()
            self.register_parameter(name, nn.Parameter(value.T.clone() if transposed else value))
            owner, _, attribute = path.rpartition(".")
            delattr(module.get_submodule(owner), attribute)
            self._places.append((name, module.get_submodule(owner), attribute, transposed))
        self.module = module

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """Return the Loss's named tuple."""
        inputs += tuple(named[name] for name in self._inputs[len(inputs) :])
        for name, owner, attribute, transposed in self._places:
            value = getattr(self, name)
            # nn.Module's own method would register the parameter under the other name as well.
            object.__setattr__(owner, attribute, value.T if transposed else value)
        try:
            found = self.module(*inputs)
        finally:
            # A transposed parameter has a graph, and a module with such a tensor cannot be copied.
            for _, owner, attribute, _ in self._places:
                delattr(owner, attribute)
        values = found if isinstance(found, tuple) else (found,)
        return self._output(*values, *[None] * (len(_fields(self._output)) - len(values)))


def _fields(output: type[tuple[Any, ...]]) -> tuple[str, ...]:
    fields: tuple[str, ...] = getattr(output, "_fields", ())
    return fields
