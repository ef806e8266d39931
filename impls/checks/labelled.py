"""The check of embeddings and their labels."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from lossbench.impls.checks.base import PLAIN, InputCheck
from lossbench.impls.labels import check_range_of_trace
from lossbench.impls.loss import Loss


class LabelledCheck(InputCheck):
    """A check of ``embeddings [B, D]`` and ``labels [B]``."""

    def __init__(self, loss: Loss, arguments: Mapping[str, Any], *, reads_labels: bool) -> None:
        super().__init__(loss, arguments, reads_labels=reads_labels)
        self.num_classes = arguments.get("num_classes", math.inf)
        self.dim = arguments.get("embedding_dim")
        self.ignored = arguments.get("ignore_index")
        self.least_batch = 2 if loss.needs_negatives else 1

    def fits(self, embeddings: Tensor, labels: Tensor) -> bool:
        """Return whether the inputs are plain tensors, with int64 labels, and fit."""
        batch, dim = embeddings.shape
        return (
            type(embeddings) in PLAIN
            and type(labels) in PLAIN
            and embeddings.is_floating_point()
            and labels.dtype is torch.int64
            and labels.shape == (batch,)
            and batch >= self.least_batch
            and (dim == self.dim or (self.dim is None and dim > 0))
            and (not (self.reads_labels and labels.is_cpu) or self._values_fit(labels))
        )

    def _values_fit(self, labels: Tensor) -> bool:
        if self.ignored is not None:
            # Class 0 is in range, whatever the other labels are.
            labels = labels.masked_fill(labels == self.ignored, 0)
        lowest, highest = labels.aminmax()
        low, high = lowest.item(), highest.item()
        return low >= 0 and high < self.num_classes and (low < high or self.least_batch == 1)

    def check(self, embeddings: Tensor, labels: Tensor) -> None:
        """Refuse the inputs where their shapes, dtypes or values do not fit."""
        self._check_matrix("embeddings", embeddings)
        batch, dim = embeddings.shape
        if labels.shape != (batch,):
            self._refuse(f"labels must be [{batch}], got {list(labels.shape)}")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            self._refuse(f"labels must be integers, got {labels.dtype}")
        if self.dim is not None and dim != self.dim:
            self._refuse(f"embeddings must be [B, {self.dim}], got {list(embeddings.shape)}")
        self._check_batch("embeddings", embeddings)
        if batch < self.least_batch:
            self._refuse("labels must be of two classes or more, got one sample")
        if is_compiling():
            check_range_of_trace(labels, self.arguments.get("num_classes"), self.ignored)
        elif labels.device.type == "cpu":
            self._check_values(labels.long())

    def _check_values(self, labels: Tensor) -> None:
        if self.ignored is not None:
            labels = labels[labels != self.ignored]
            if len(labels) == 0:
                return
        lowest, highest = (int(bound) for bound in labels.aminmax())
        if lowest < 0 or highest >= self.num_classes:
            wrong = lowest if lowest < 0 else highest
            hint = f"; ignore_index={wrong} leaves them out" * self.loss.takes_options
            self._refuse(f"labels must be from 0 to {self.num_classes - 1}, got {wrong}{hint}")
        if self.loss.needs_negatives and lowest == highest:
            self._refuse(f"labels must be of two classes or more, all {len(labels)} are {lowest}")
