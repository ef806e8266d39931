"""A sharded loss is registered once for each family of kernels that computes a rank's part."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from lossbench.impls.families import NEEDS, problem_of_family
from lossbench.impls.registry import register
from lossbench.impls.sharded.ranks import no_group
from lossbench.impls.sharded.shards import Sharded, computed_by

Module = TypeVar("Module", bound=type[Sharded])


def register_sharded(loss: str, **how: Any) -> Callable[[Module], Module]:
    """Register a class as ``sharded``, and with other kernels as ``sharded_native``, and so on.

    Args:
        loss: the name of the Loss that it computes.
        **how: the other arguments of ``register``.
    """

    def enter(module: Module) -> Module:
        register(loss, "sharded", **how)(module)
        for family, needs in NEEDS.items():
            asked = {**how, **needs, "problem": _problem(family)}
            register(loss, f"sharded_{family}", **asked)(_builder(module, family))
        return module

    return enter


def _builder(module: type[Sharded], family: str) -> Callable[..., nn.Module]:
    def build(**arguments: Any) -> nn.Module:
        with computed_by(family):
            return module(**arguments)

    return build


def _problem(family: str) -> Callable[[], str | None]:
    return lambda: no_group() or problem_of_family(family)
