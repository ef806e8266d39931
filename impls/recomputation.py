"""Checkpointing of a module that moves state: the second forward pass sees the first's state.

torch.utils.checkpoint runs a forward pass again within the backward pass. The second run must see
the state that the first run saw, although it has moved since, and must not move it again. A pass
that may run again is known by its surroundings: gradients are off, or autograd's saved tensors go
through hooks. Any other call costs no more than the test for them.
"""

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lossbench.impls.loss import Loss, Moved
from lossbench.impls.processes import count_processes

KEY = "lossbench.moved_state"


class Call:
    """A forward pass that moved state.

    Attributes:
        inputs: the inputs of the pass, in the order of the call.
        before: the state before the pass: a whole buffer, or the rows of the labels' centres.
        start: the number that autograd would have given to a node made before the pass.
    """

    __slots__ = ("__weakref__", "before", "inputs", "start")

    def __init__(self, inputs: tuple[Tensor, ...], before: Tensor) -> None:
        self.inputs, self.before = inputs, before
        self.start: int = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]


class MovedState:
    """Hooks around the forward pass of a module that moves state, of any variant.

    The state before a call that may run again is kept as long as the graph of its loss. A call
    within reentrant checkpointing has no graph, so the state before the last such call is kept,
    until a call with gradients follows.

    Args:
        loss: the Loss that the module computes.
        moved: the state that moves.
        limits: the reasons why the implementation is not fit, by situation.
    """

    def __init__(self, loss: Loss, moved: Moved, limits: Mapping[str, str]) -> None:
        self.loss, self.moved, self.limits = loss, moved, dict(limits)
        self._forget()

    def _forget(self) -> None:
        self._calls: list[weakref.ref[Call]] = []
        self._last: Call | None = None
        self._entered: Call | None = None
        self._after: Tensor | None = None
        self._is_traced = False

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy: without the calls, because their graphs are not copied."""
        return {"loss": self.loss, "moved": self.moved, "limits": self.limits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, without calls."""
        self.__dict__.update(state)
        self._forget()

    def attach(self, module: nn.Module) -> None:
        """Register the hooks with a module."""
        module.register_forward_pre_hook(self._enter, with_kwargs=True)
        # always_call: checkpointing may end the second run early, by an exception.
        module.register_forward_hook(self.leave, always_call=True)

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A hook that returns anything replaces the inputs.
        self.enter(module, args, kwargs)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Save the state before a call; in a second run, restore the state of the first run.

        Returns:
            Whether ``leave`` must be called after the call, also if that raises.

        Raises:
            RuntimeError: if the state of the first run is unknown, or the implementation is not fit
                for several processes or for compilation.
        """
        if not (module.training or self.moved.in_evaluation):
            return False
        if torch.compiler.is_compiling():
            self._refuse_limit("compile")
            self._refuse_checkpoint_of_trace()
            return False
        if "ddp" in self.limits and count_processes() > 1:
            self._refuse_limit("ddp")
        again = in_backward()
        if not (again or _may_run_again()):
            self._last = None
            return False
        given = (*args, *kwargs.values())
        inputs = tuple(v.detach() if v.is_floating_point() else v for v in given)
        state = getattr(module, self.moved.name).detach()
        rows = _rows(state, inputs)
        if again:
            before = self._call_of(inputs).before
            self._after = state.clone()
            state[... if rows is None else rows] = before
        else:
            before = state.clone() if rows is None else state.index_select(0, rows)
            self._entered = Call(inputs, before)
        return True

    def _refuse_limit(self, situation: str) -> None:
        if situation in self.limits:
            raise RuntimeError(f"{self.loss.name}: {situation} is {self.limits[situation]}")

    def _refuse_checkpoint_of_trace(self) -> None:
        """Raise an error if checkpointing runs the traced code again, as that moves state again.

        It may be around the compiled code, or in it. There the compiler refuses a change of an
        attribute; it would let a tensor change.
        """
        if _is_checkpointed():
            raise RuntimeError(
                f"{self.loss.name}: compiled code that moves its {self.moved.name} cannot be "
                "checkpointed: it would move them again; leave out one of the two"
            )
        self._is_traced = True

    def leave(self, module: nn.Module, _args: tuple[Any, ...], out: Any) -> None:
        """Keep the state before the call; after a second run, restore the state before that run."""
        if self._after is None and self._entered is None:
            return
        if self._after is not None:
            getattr(module, self.moved.name).detach().copy_(self._after)
            self._after = None
        call, self._entered = self._entered, None
        if call is None or out is None:
            return
        if out[0].grad_fn is None:
            self._last = call
        else:
            out[0].grad_fn.metadata[KEY] = call
            self._calls.append(weakref.ref(call, self._calls.remove))
            self._last = None

    def _call_of(self, inputs: tuple[Tensor, ...]) -> Call:
        """Return the call with these inputs, or with the nearest ones if they were recomputed.

        Of several calls with the same inputs it is the last one that began before the node which
        the backward pass has reached.
        """
        known = [call for call in (self._last, *(ref() for ref in self._calls)) if call is not None]
        distances = {call: _distance(call.inputs, inputs) for call in known}
        nearest = min(distances.values(), default=torch.inf)
        if nearest == torch.inf:
            raise RuntimeError(
                f"{self.loss.name}: its {self.moved.name} moved since the forward pass that is "
                "computed again here; checkpoint with use_reentrant=False"
            )
        node = torch._C._current_autograd_node()._sequence_nr()
        alike = [call for call, distance in distances.items() if distance == nearest]
        return max(alike, key=lambda call: (call.start <= node, call.start))


def in_backward() -> bool:
    """Return whether autograd runs a backward pass, and so a forward pass is a second one."""
    return torch._C._current_graph_task_id() != -1


def _may_run_again() -> bool:
    """Return whether checkpointing may run this pass again.

    Reentrant checkpointing runs the first pass without gradients. The other kind takes the tensors
    that autograd saves, by hooks.
    """
    if not torch.is_grad_enabled():
        return True
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def _is_checkpointed() -> bool:
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    packs = None if hooks is None else hooks[0]
    return in_backward() or getattr(packs, "__module__", "") == checkpoint.__module__


# The mark of torch.compiler.assume_constant_result, which would import the whole compiler here.
_is_checkpointed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _rows(state: Tensor, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """Return the rows of a table that a call reads, by its labels; ``None`` for other state."""
    if state.dim() < 2:
        return None
    return next(value for value in inputs if not value.is_floating_point()).long()


def _distance(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    """Return the distance of the floating inputs; infinity if labels or shapes differ."""
    total = 0.0
    for one, other in zip(a, b, strict=True):
        if one.shape != other.shape or not (one.is_floating_point() or torch.equal(one, other)):
            return torch.inf
        if one.is_floating_point():
            total += float((one - other).abs().sum())
    return total
