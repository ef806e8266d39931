"""What the processes say of inputs that do not fit together, and of a process that is missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from lossbench import impls
from lossbench.impls.sharded import over
from tests.impls.sharded.groups import Groups, is_in, new_group


def _message(call: Callable[[], Any]) -> str:
    """Return the error that a call raises: its type and its text."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - any other error is shown by the test
        return f"{type(error).__name__}: {error}"
    return "no error"


def refusals(groups: Groups, _folder: Path) -> Any:
    """Return what each process says of inputs that do not fit together."""
    if not is_in(2):
        return None
    first = dist.get_rank() == 0
    with over(groups[2]):
        pairs = impls.implementation("contrastive_whole_batch", "sharded").build()
        hard = impls.implementation("triplet_batch_hard", "sharded").build()
        softmax = impls.implementation("softmax", "sharded").build(num_classes=4, embedding_dim=3)
        other = impls.implementation("softmax", "sharded").build(
            num_classes=4 if first else 5, embedding_dim=3
        )
        unchecked = impls.implementation("softmax", "sharded").build(
            num_classes=4, embedding_dim=3, validate=False
        )
    x, labels = torch.randn(2, 3), torch.tensor([0, 1])
    stray = torch.tensor([0, 1 if first else 4])
    same = torch.tensor([2, 2])
    return {
        "widths": _message(lambda: hard(torch.randn(2, 3 if first else 4), labels)),
        "dtypes": _message(lambda: hard(x if first else x.double(), labels)),
        "classes": _message(lambda: other(x, labels)),
        "stray": _message(lambda: softmax(x, stray)),
        "stray, unchecked": _message(lambda: unchecked(x, stray)),
        "one class": _message(lambda: hard(x, same)),
        "one class in a rank": _message(lambda: hard(x, same if first else labels)),
        "double backward": _message(lambda: _penalty(softmax, labels)),
        "of pairs": _message(lambda: _penalty(pairs, x, labels)),
        "well": _message(lambda: softmax(x, labels)),
    }


def _penalty(module: nn.Module, *others: torch.Tensor) -> None:
    x = torch.randn(2, 3, requires_grad=True)
    loss = module(x, *others).loss
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    grad.square().sum().backward()


def missing(_groups: Groups, _folder: Path) -> Any:
    """Return what a process says if the other one does not call the loss."""
    group = new_group(2)
    dist.barrier()
    message = ""
    if dist.get_rank() == 0:
        with over(group, wait_seconds=0.5):
            module = impls.implementation("softmax", "sharded").build(
                num_classes=4, embedding_dim=3
            )
        message = _message(lambda: module(torch.randn(2, 3), torch.tensor([0, 1])))
    dist.barrier()
    return message
