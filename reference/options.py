"""What ``F.cross_entropy`` takes beside logits and labels, for every loss that is one."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Reduction = Literal["mean", "sum", "none"]
# Where no sample is left out: no label at all, so that -100, torch's default, is refused as any
# other label that is no class, and not left out in silence.
NO_LABEL = torch.iinfo(torch.int32).min


class EntropyOptions(nn.Module):
    """The options of ``F.cross_entropy``, with its meaning.

    A sample that is left out has no target, and so no margin: its loss is 0, it does not count in
    a mean, and where all are left out the mean is NaN. Labels are int64 throughout.

    Args:
        ignore_index: the label of the samples that are left out; ``None`` leaves out none.
        label_smoothing: the share ε of a target that is spread over all classes, from 0 to 1.
        class_weights: the weight of each class, ``[C]``; a mean is divided by those of its
            samples' labels; ``None`` weighs all alike. It is no part of the ``state_dict``.
        reduction: ``mean``, ``sum``, or ``none`` for the losses of all samples, ``[B]``.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        ignore_index: int | None = None,
        label_smoothing: float = 0,
        class_weights: Sequence[float] | Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction = reduction
        weights = None
        if class_weights is not None:
            weights = torch.as_tensor(class_weights, dtype=torch.get_default_dtype()).clone()
        self.register_buffer("class_weights", weights, persistent=False)

    def cross_entropy(self, logits: Tensor, labels: Tensor, gamma: float = 0) -> Tensor:
        """Return the loss of ``logits [B, C]`` for ``labels [B]``, reduced.

        Args:
            logits: ``[B, C]``.
            labels: ``[B]``, int64.
            gamma: the power γ of the focal factor ``(1 - p)^γ`` of each sample's loss, p the
                probability of its target; the factor has no gradient.

        Raises:
            IndexError: where a label is no class; on CUDA the device asserts.
        """
        if gamma == 0:
            return self._cross_entropy(logits, labels, self.reduction)
        losses = surprise = self._cross_entropy(logits, labels, "none")
        if self.label_smoothing or self.class_weights is not None:
            surprise = F.cross_entropy(logits, self.targets(labels), reduction="none")
        miss = 1 - surprise.detach().neg().exp()
        return self.reduce(losses * miss**gamma, labels)

    def _cross_entropy(self, logits: Tensor, labels: Tensor, reduction: Reduction) -> Tensor:
        weights = self.class_weights
        return F.cross_entropy(
            logits,
            labels,
            weight=None if weights is None else weights.to(logits.dtype),
            ignore_index=NO_LABEL if self.ignore_index is None else self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=reduction,
        )

    def reduce(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Return weighted ``losses [B]`` as one number, or as they are."""
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return losses.sum()
        weights = self.sample_weights(labels, losses.dtype)
        return losses.mean() if weights is None else losses.sum() / weights.sum()

    def weigh(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Return ``-log p`` of each sample's target, ``[B]``, times its weight, 0 if left out."""
        weights, kept = self.sample_weights(labels, losses.dtype), self.kept(labels)
        if weights is not None:
            losses = losses * weights
        # Not by a weight of 0, which would leave a NaN there.
        return losses if kept is None else losses.masked_fill(~kept, 0)

    def sample_weights(self, labels: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Return the weight of each sample, ``[B]``, 0 if left out; ``None`` if all are 1."""
        kept = self.kept(labels)
        if self.class_weights is None:
            return None if kept is None else kept.to(dtype)
        weights = self.class_weights.to(dtype).index_select(0, self.targets(labels))
        return weights if kept is None else weights.masked_fill(~kept, 0)

    def kept(self, labels: Tensor) -> Tensor | None:
        """Return whether each sample counts, ``[B]``; ``None`` if none can be left out."""
        return None if self.ignore_index is None else labels != self.ignore_index

    def targets(self, labels: Tensor) -> Tensor:
        """Return the labels, ``[B]``, class 0 in the place of those that are left out."""
        kept = self.kept(labels)
        return labels if kept is None else labels.masked_fill(~kept, 0)

    def where_kept(self, labels: Tensor, values: Tensor, others: Tensor) -> Tensor:
        """Return ``values [B, 1]``, and ``others [B, 1]`` of the samples that are left out."""
        kept = self.kept(labels)
        return values if kept is None else torch.where(kept.unsqueeze(1), values, others)
