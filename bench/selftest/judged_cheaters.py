"""Implementations that are right for regular batches only; the agreement must refuse each.

Each is the reference with one fault that a user would meet in training. ``bench.case.draws`` has
the batches that show the faults.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.bench.case.workload import FEATURE_AXES
from lossbench.bench.selftest.contender import Cheat, Forward

ENTROPY, CENTERS, TRIPLETS = "arcface", "center_mse", "triplet_batch_hard"
COUNTING, AVERAGING = "sphereface", "center_all_pairs"
LANES = 8


class _Replaced(torch.autograd.Function):
    """The identity, with the incoming gradient replaced in the backward pass."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, replace: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.replace = replace
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.replace(gradients[0]), None


def _replaced(value: Tensor, replace: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a value with the function of its gradient in place of its gradient."""
    result: Tensor = _Replaced.apply(value, replace)  # type: ignore[no-untyped-call]
    return result


def _halved_if(wrong: bool, embeddings: Tensor) -> Tensor:
    """Return embeddings that get half of their gradient if something is wrong."""
    return _replaced(embeddings, lambda gradient: gradient / 2) if wrong else embeddings


def _counts(labels: Tensor) -> Tensor:
    """Return the number of samples of each class in the batch."""
    counts = labels.bincount()
    return counts[counts > 0]


def ignores_upstream(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give the gradient of the loss, whatever factor the loss has in the objective."""
    out = forward(x, y)
    return out._replace(loss=_replaced(out.loss, torch.ones_like))


def squares_upstream(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Multiply the gradient by the factor twice."""
    out = forward(x, y)
    return out._replace(loss=_replaced(out.loss, torch.square))


def loses_the_sign(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Multiply the gradient by the size of the factor."""
    out = forward(x, y)
    return out._replace(loss=_replaced(out.loss, torch.abs))


def equal_counts(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give half of the gradient unless all classes have as many samples."""
    counts = _counts(y)
    return forward(_halved_if(bool((counts != counts[0]).any()), x), y)


def cyclic_labels(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give half of the gradient unless the labels repeat in one order."""
    period = len(_counts(y))
    return forward(_halved_if(bool((y[period:] != y[:-period]).any()), x), y)


def sorted_labels(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give half of the gradient unless the labels are in ascending order."""
    return forward(_halved_if(bool((y.diff() < 0).any()), x), y)


def contiguous_embeddings(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Read the embeddings' memory as if it had no gaps."""
    return forward(x.as_strided(x.shape, (x.size(1), 1)), y)


def contiguous_labels(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Read the labels' memory as if it had no gaps."""
    return forward(x, y.as_strided(y.shape, (1,)))


def first_step(module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give half of the gradient after the first step."""
    later = module.__dict__.setdefault("stepped", False)
    module.__dict__["stepped"] = True
    return forward(_halved_if(later, x), y)


def first_state(module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Return to the parameters of the first step, and compute with them."""
    kept = module.__dict__.setdefault("kept", [p.detach().clone() for p in module.parameters()])
    with torch.no_grad():
        for parameter, first in zip(module.parameters(), kept, strict=True):
            parameter.copy_(first)
    return forward(x, y)


def moves_once(module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Move the state in one step, and not in the step after it unless it was loaded again."""
    before = _state(module)
    out = forward(x, y)
    moved = module.__dict__.get("moved")
    if moved is not None and all(map(torch.equal, moved, before)):
        for tensor, former in zip(module.state_dict().values(), before, strict=True):
            if not tensor.equal(former):
                tensor.copy_(former)
    module.__dict__["moved"] = _state(module)
    return out


def _state(module: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


def whole_lanes(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give no gradient to the rows beyond the last multiple of 8."""
    kept = torch.arange(len(x), device=x.device).unsqueeze(1) < len(x) // LANES * LANES
    return forward(_replaced(x, lambda gradient: gradient * kept), y)


def drawn_classes(module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give no gradient to the weights of classes that are absent from the batch."""
    (weight,) = module.parameters()
    if "hook" in module.__dict__:
        module.__dict__["hook"].remove()
    present = weight.new_zeros(weight.size(1)).index_fill(0, y, 1)
    hook = weight.register_hook(lambda gradient: gradient * present)  # type: ignore[no-untyped-call]
    module.__dict__["hook"] = hook
    return forward(x, y)


def _without(label: Callable[[nn.Module], int]) -> Cheat:
    """Return a cheat that gives no gradient to the samples of one class."""

    def cheat(module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
        kept = (y != label(module)).unsqueeze(1)
        return forward(_replaced(x, lambda gradient: gradient * kept), y)

    return cheat


forgets_first_class = _without(lambda _: 0)
forgets_last_class = _without(lambda module: _count_classes(module) - 1)


def _count_classes(module: nn.Module) -> int:
    ((name, tensor),) = module.named_parameters()
    return tensor.size(1 - FEATURE_AXES[name])


def forgets_singletons(_module: nn.Module, forward: Forward, x: Tensor, y: Tensor) -> Any:
    """Give no gradient to a sample without another one of its class."""
    alone = (y.unsqueeze(0) == y.unsqueeze(1)).sum(1, keepdim=True) == 1
    return forward(_replaced(x, lambda gradient: gradient * ~alone), y)


@dataclass(frozen=True)
class JudgedCheat:
    """A fault that only an irregular batch shows.

    Attributes:
        cheat: function that changes the reference's call.
        expected: regular expression that the reason of the refusal must match.
        losses: losses in which the fault changes a result.
    """

    cheat: Cheat
    expected: str
    losses: tuple[str, ...] = (CENTERS, ENTROPY, TRIPLETS)


GRADIENT = r"grad\.embeddings is off"

JUDGED_CHEATS: dict[str, JudgedCheat] = {
    "upstream factor ignored": JudgedCheat(ignores_upstream, GRADIENT),
    "upstream factor squared": JudgedCheat(squares_upstream, GRADIENT),
    "sign of the upstream factor lost": JudgedCheat(loses_the_sign, GRADIENT),
    "right for equal class counts": JudgedCheat(equal_counts, GRADIENT),
    "right for cyclic labels": JudgedCheat(cyclic_labels, GRADIENT),
    "right for sorted labels": JudgedCheat(sorted_labels, GRADIENT),
    "right for contiguous embeddings": JudgedCheat(
        contiguous_embeddings, r"out\.loss is off by inf \(strided\)"
    ),
    "right for contiguous labels": JudgedCheat(
        contiguous_labels, r"grad\.embeddings is off .*\(strided\)"
    ),
    "right in the first step": JudgedCheat(first_step, GRADIENT),
    "parameters of the first step": JudgedCheat(
        first_state, r"out\.loss is off .*after\.", (CENTERS, ENTROPY)
    ),
    "state moved once": JudgedCheat(
        moves_once, r"after\.\w+ is off .*\(second step\)", (COUNTING, AVERAGING)
    ),
    "right for multiples of 8": JudgedCheat(
        whole_lanes, r"grad\.embeddings is off .*\(odd batch\)"
    ),
    "right for drawn classes": JudgedCheat(drawn_classes, r"grad\.weight is off", (ENTROPY,)),
    "first class forgotten": JudgedCheat(forgets_first_class, GRADIENT),
    "last class forgotten": JudgedCheat(forgets_last_class, GRADIENT, (CENTERS, ENTROPY)),
    "singletons forgotten": JudgedCheat(
        forgets_singletons, r"grad\.embeddings is off .*\(odd batch\)"
    ),
}
