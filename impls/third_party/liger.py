"""Liger-Kernel: cross-entropy fused with its linear layer, in Triton."""

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
