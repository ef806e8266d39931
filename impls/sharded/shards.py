"""Modules with their class parameters in shards, one shard a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.impls.families import Family, family
from lossbench.impls.sharded.meeting import JoinedBatch, meet, tell_of_failure
from lossbench.impls.sharded.ranks import Ranks, current_ranks

NOT_COMPILED = "a sharded loss exchanges sizes at each call: compile the backbone alone"
# The dimension of each parameter that counts the classes.
CLASS_DIM = {"weight": 1, "centers": 0}

_family: ContextVar[str] = ContextVar("family", default="fused")


@contextmanager
def computed_by(name: str) -> Iterator[None]:
    """Build the sharded losses of the block so that a family of kernels computes a rank's part."""
    token = _family.set(name)
    try:
        yield
    finally:
        _family.reset(token)


class Sharded(nn.Module):
    """A base class that comes before the one with the parameters.

    It makes each of them a ``DTensor`` of the whole shape, sharded over the classes, so that
    optimizers, ``clip_grad_norm_`` and ``torch.distributed.checkpoint`` treat it as one parameter.
    ``load_state_dict`` also takes whole tensors, of any other variant.

    Attributes:
        ranks: the processes, each with a shard.
        family: the name of the family of kernels that computes a rank's part.
    """

    ranks: Ranks
    family: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ranks = current_ranks()
        self.family = _family.get()
        # Loaded before any call, in which the other processes would wait for a compiler.
        family(self.family)
        self._has_met = False
        for name, parameter in list(self.named_parameters(recurse=False)):
            shard = shard_of(parameter.detach(), CLASS_DIM[name], self.ranks)
            setattr(self, name, nn.Parameter(shard, parameter.requires_grad))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module; the other processes are told if this one refuses its inputs.

        Raises:
            NotImplementedError: if torch.compile traces the call.
        """
        if torch.compiler.is_compiling():
            raise NotImplementedError(NOT_COMPILED)
        self._has_met = False
        try:
            return super().__call__(*args, **kwargs)
        except Exception:
            if not self._has_met:
                given = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
                device = given[0].device if given else torch.device("cpu")
                tell_of_failure(self.ranks, device)
            raise

    @property
    def kernels(self) -> Family:
        """The family of kernels that computes a rank's part."""
        return family(self.family)

    def _meet(self, rows: Tensor) -> JoinedBatch:
        """Exchange the sizes of all batches, and check that all processes compute one loss."""
        self._has_met = True
        shapes = [tuple(parameter.shape) for parameter in self.parameters()]
        settings = [_settings(module) for module in self.modules()]
        words = f"{type(self).__name__} {shapes} {settings} {self.ranks.row_gradient}"
        return meet(self.ranks, rows, words)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name, parameter in self.named_parameters(recurse=False):
            whole: Any = state_dict.get(prefix + name)
            if type(whole) in (Tensor, nn.Parameter) and whole.shape == parameter.shape:
                shard = shard_of(whole.detach(), CLASS_DIM[name], self.ranks)
                state_dict[prefix + name] = shard
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _settings(module: nn.Module) -> dict[str, Any]:
    """Return the numbers and words that a module is built with."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, int | float | str) and name[0] != "_" and name != "training"
    }


def shard_of(whole: Tensor, dim: int, ranks: Ranks) -> Tensor:
    """Return a tensor that every process has as a ``DTensor``; this process keeps its shard.

    Args:
        whole: the tensor, the same in every process.
        dim: the dimension that counts the classes.
        ranks: the processes.
    """
    # Imported here, because it takes a second.
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor, Shard

    start, stop = ranks.own_classes(whole.size(dim))
    own = whole.narrow(dim, start, stop - start).clone(memory_format=torch.contiguous_format)
    mesh = DeviceMesh.from_group(ranks.group, whole.device.type)
    sharded: Tensor = DTensor.from_local(
        own,
        mesh,
        [Shard(dim)],
        run_check=False,
        shape=whole.shape,
        stride=whole.contiguous().stride(),
    )
    return sharded


def own_shard(parameter: Tensor) -> Tensor:
    """Return this process's shard of a parameter, with its gradient."""
    shard: Tensor = parameter.to_local()  # type: ignore[attr-defined]
    return shard


def own_places(labels: Tensor, num_classes: int, ranks: Ranks) -> Tensor:
    """Return the place of each sample's class in this process's shard, ``[B]``; -1 if elsewhere."""
    start, stop = ranks.own_classes(num_classes)
    inside = (labels >= start) & (labels < stop)
    return torch.where(inside, labels - start, -1)
