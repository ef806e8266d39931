"""The largest tensor and the most bytes in a step of a sharded loss."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lossbench import impls
from lossbench.bench.measure.memory import footprints
from lossbench.impls.sharded import over
from tests.impls.sharded.groups import Groups, is_in


class LargestResult(TorchDispatchMode):
    """Record the largest number of elements of a result in the block."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(each.__name__ == "DTensor" for each in types):
            # It comes again with the local tensors.
            return NotImplemented
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def largest(groups: Groups, _folder: Path) -> Any:
    """Return the largest number of elements at once, of 64 samples and 40,000 classes."""
    if not is_in(2):
        return None
    with over(groups[2]):
        head = impls.implementation("softmax", "sharded")
        module = head.build(num_classes=40_000, embedding_dim=8)
        pairs = impls.implementation("triplet_weighted", "sharded").build()
    x, labels = torch.randn(32, 8, requires_grad=True), torch.arange(32)
    with LargestResult() as of_head:
        module(x, labels).loss.backward()
    many, classes = torch.randn(1024, 4, requires_grad=True), torch.arange(1024) % 7
    with LargestResult() as of_pairs:
        pairs(many, classes).loss.backward()
    return of_head.elements, of_pairs.elements


def bytes_of_step(groups: Groups, _folder: Path) -> dict[str, int] | None:
    """Return the most bytes in a step of a head by variant, of 512 samples and 40,000 classes."""
    if not is_in(2):
        return None
    found = {}
    for variant in ("sharded", "sharded_native"):
        with over(groups[2]):
            head = impls.implementation("arcface", variant)
            module = head.build(num_classes=40_000, embedding_dim=8)
        x, labels = torch.randn(256, 8, requires_grad=True), torch.arange(256)
        step = partial(_step, module, x, labels)
        found[variant] = max(each.peak_bytes for each in footprints((step, step), "cpu"))
    return found


def _step(module: nn.Module, x: torch.Tensor, labels: torch.Tensor, _: Any) -> None:
    module(x, labels).loss.backward()
