"""Liger-Kernel: cross-entropy fused with its linear layer, in Triton or in CuTe for Hopper."""

from typing import Any

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.registry import register
from lossbench.impls.state import ClassWeights


class LigerCrossEntropy(ClassWeights):
    """Chunks of the batch; the forward pass makes their gradients, so backward runs only once."""

    def __init__(self, num_classes: int, embedding_dim: int, criterion: Any) -> None:
        super().__init__(num_classes, embedding_dim)
        self.criterion = criterion

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss; the logits are never formed at once."""
        if torch.is_grad_enabled() and not embeddings.requires_grad:
            # The kernel computes the weights' gradient only if the embeddings require one.
            embeddings = embeddings.detach().requires_grad_()
        return LossAndLogits(self.criterion(self.weight.t(), embeddings, labels.long()), None)


# Its kernel computes in float32 for inputs of any dtype, so float64 is left out.
@register(
    "softmax",
    "liger",
    requires=("liger_kernel", "triton"),
    devices=("cuda",),
    dtypes=(torch.float16, torch.bfloat16, torch.float32),
    leaves_out=("logits",),
)
def softmax(num_classes: int, embedding_dim: int) -> nn.Module:
    """``LigerFusedLinearCrossEntropyLoss``, the weights' gradient accumulated in float32."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    criterion = LigerFusedLinearCrossEntropyLoss(accum_dtype=torch.float32)
    return LigerCrossEntropy(num_classes, embedding_dim, criterion)


class LigerHopperCrossEntropy(ClassWeights):
    """Products of tiles by CuTe, without the logits; its sizes are padded within the call."""

    def __init__(self, num_classes: int, embedding_dim: int, function: Any) -> None:
        super().__init__(num_classes, embedding_dim)
        self.function = function

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss: the mean of the terms of the samples, at temperature 1."""
        terms = self.function.apply(embeddings, self.weight.t(), labels.long())
        return LossAndLogits(terms.mean(), None)


def _no_hopper() -> str | None:
    """Return that there is no Hopper GPU here; on another one Liger falls back in silence."""
    if torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0):
        return None
    return "needs a GPU of compute capability 9.0"


@register(
    "softmax",
    "liger_hopper",
    requires=("liger_kernel", "cutlass"),
    devices=("cuda",),
    dtypes=(torch.bfloat16,),
    leaves_out=("logits",),
    problem=_no_hopper,
)
def softmax_hopper(num_classes: int, embedding_dim: int) -> nn.Module:
    """``LigerFusedLinearScaledCrossEntropyFunction``, which is made for whole numbers of tiles."""
    from liger_kernel.ops import fused_linear_scaled_cross_entropy as ops

    function = ops.LigerFusedLinearScaledCrossEntropyFunction
    return LigerHopperCrossEntropy(num_classes, embedding_dim, function)
