"""Contenders that pass the comparison with the reference, and cheat when they are timed."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.bench.selftest.cheaters import halved, moving
from lossbench.bench.selftest.contender import Cheat, Forward

TIMED_LOSS = "arcface"
# Calls of the comparison with the reference, of the memory and of the counters come before.
HONEST_CALLS = 40
STARTED_SECONDS, WORKING_SECONDS = 0.005, 0.1


@dataclass(frozen=True)
class _Memory:
    """The results of one call: outputs without a graph, and the gradients of the loss."""

    out: Any
    gradients: tuple[Tensor, ...]


class _Replay(torch.autograd.Function):
    """Give a remembered loss and remembered gradients."""

    @staticmethod
    def forward(ctx: Any, memory: _Memory, *_targets: Tensor) -> Tensor:
        ctx.memory = memory
        loss: Tensor = memory.out.loss.clone()
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        return (None, *(upstream[0] * gradient for gradient in ctx.memory.gradients))


def remember(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> _Memory:
    """Return the results of a call, to be given again."""
    with torch.enable_grad():
        leaf = embeddings.detach().clone().requires_grad_()
        out = forward(leaf, labels)
        gradients = torch.autograd.grad(out.loss, [leaf, *module.parameters()])
    detached = (None if value is None else value.detach() for value in out)
    return _Memory(type(out)(*detached), gradients)


def replay(module: nn.Module, memory: _Memory, embeddings: Tensor) -> Any:
    """Return remembered results with a graph that gives the remembered gradients."""
    loss = _Replay.apply(memory, embeddings, *module.parameters())  # type: ignore[no-untyped-call]
    return memory.out._replace(loss=loss)


def remembering(key: Callable[[nn.Module, Tensor, Tensor], object]) -> Cheat:
    """Return a cheat that gives the results of the first call with the same key."""

    def cheat(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
        memories = module.__dict__.setdefault("memories", {})
        # The inputs are kept, so that no other tensor gets their address.
        found, _ = memories.setdefault(
            key(module, embeddings, labels),
            (remember(module, forward, embeddings, labels), (embeddings, labels)),
        )
        return replay(module, found, embeddings)

    return cheat


def by_identity(_module: nn.Module, embeddings: Tensor, labels: Tensor) -> object:
    """Tell inputs apart by the identity of the tensors."""
    return id(embeddings), id(labels)


def by_address(module: nn.Module, embeddings: Tensor, _labels: Tensor) -> object:
    """Tell inputs apart by their address, and parameters by theirs."""
    return tuple(tensor.data_ptr() for tensor in (embeddings, *module.parameters()))


def by_sample(_module: nn.Module, _embeddings: Tensor, labels: Tensor) -> object:
    """Tell inputs apart by the first three labels."""
    return tuple(labels[:3].tolist())


def later(cheat: Cheat, calls: int = HONEST_CALLS, every: int = 1) -> Cheat:
    """Return a cheat that is honest for a number of calls, and then in all but every n-th.

    Args:
        cheat: cheat that begins then.
        calls: number of honest calls.
        every: number of calls from one honest call to the next; 1 for no more honest ones.
    """

    def wait(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
        count = module.__dict__["count"] = module.__dict__.get("count", 0) + 1
        if count <= calls or (every > 1 and count % every == 0):
            return forward(embeddings, labels)
        return cheat(module, forward, embeddings, labels)

    return wait


def idle(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Give the results of the first idle call again."""
    memory = module.__dict__.get("memory") or remember(module, forward, embeddings, labels)
    module.__dict__["memory"] = memory
    return replay(module, memory, embeddings)


def watched(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Look for the clock among the callers, and be idle if it is there."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name in ("block_seconds", "_call_seconds"):
            return idle(module, forward, embeddings, labels)
    return forward(embeddings, labels)


def graphless(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute without the graph that a backward needs."""
    with torch.no_grad():
        return forward(embeddings, labels)


def not_a_number(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return NaN, which no comparison finds too large."""
    out = forward(embeddings, labels)
    return out._replace(loss=out.loss * torch.nan)


def no_logits(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Leave out an output."""
    return forward(embeddings, labels)._replace(logits=None)


def coarse(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute from inputs that are rounded to bfloat16."""
    rounded = embeddings + (embeddings.detach().bfloat16().float() - embeddings.detach())
    return forward(rounded, labels)


def spoiling(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute the right loss, then change the inputs a little."""
    out = forward(embeddings, labels)
    embeddings.data.mul_(1.001)
    return out


def one_buffer(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the logits in a buffer that the next call overwrites."""
    out = forward(embeddings, labels)
    buffer = module.__dict__.setdefault("buffer", torch.empty_like(out.logits))
    return out._replace(logits=buffer.copy_(out.logits.detach()))


def beside_the_weight(
    module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor
) -> Any:
    """Return the logits in the memory of the weight, behind its numbers."""
    weight, out = next(module.parameters()), forward(embeddings, labels)
    room = torch.cat([weight.detach().flatten(), out.logits.detach().flatten()])
    weight.data = room[: weight.numel()].view_as(weight)
    return out._replace(logits=room[weight.numel() :].view_as(out.logits))


class Lazy(Tensor):
    """A tensor that could put off its work until somebody reads it."""


def lazy(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the loss as a subclass of tensors."""
    out = forward(embeddings, labels)
    return out._replace(loss=out.loss.as_subclass(Lazy))


def unfinished(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return logits that another thread writes a little later."""
    out = forward(embeddings, labels)
    logits = torch.zeros_like(out.logits)

    def finish() -> None:
        time.sleep(STARTED_SECONDS)
        logits.copy_(out.logits.detach())

    threading.Thread(target=finish, daemon=True).start()
    return out._replace(logits=logits)


def working_on(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the right results, and prepare something in another thread."""
    until = time.perf_counter() + WORKING_SECONDS

    def work() -> None:
        numbers = torch.ones(256, 256)
        while time.perf_counter() < until:
            numbers = numbers @ numbers

    threading.Thread(target=work, daemon=True).start()
    return forward(embeddings, labels)


# Each cheat by name, with a pattern of the reason for which it must be refused.
TIMED_CHEATS: dict[str, tuple[Cheat, str]] = {
    "honest for 40 calls": (later(idle), r"(out|grad)\.\w+ is off"),
    "honest for 400 calls": (later(idle, 400), r"(out|grad)\.\w+ is off"),
    "honest at every third call": (later(idle, every=3), r"(out|grad)\.\w+ is off"),
    "idle if the clock calls": (watched, r"(out|grad)\.\w+ is off"),
    "remembers by identity": (remembering(by_identity), r"(out|grad)\.\w+ is off"),
    "remembers by address": (remembering(by_address), r"(out|grad)\.\w+ is off"),
    "remembers by some labels": (remembering(by_sample), r"(out|grad)\.\w+ is off"),
    "half of the batch": (later(halved), r"(out|grad)\.\w+ is off"),
    "lower precision": (later(coarse), r"(out|grad)\.\w+ is off"),
    "NaN": (later(not_a_number), r"out\.loss is off"),
    "an output left out": (later(no_logits), r"returned no out\.logits"),
    "no graph": (later(graphless), "does not require grad"),
    "input changed": (later(spoiling), "changed its input embeddings"),
    "parameters moved": (later(moving), r"after\.weight is off"),
    "overwritten output": (later(one_buffer), r"out\.logits changed after its call"),
    "memory of a parameter": (later(beside_the_weight), r"out\.logits shares memory with"),
    "lazy tensor": (later(lazy), "is a Lazy, expected a plain torch.Tensor"),
    "unfinished output": (later(unfinished), r"out\.logits is off"),
    "thread that works on": (later(working_on), "works on after its call returned"),
}
