"""The centre loss over all pairs of a sample and a label, with products ``[B, U]``."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import (
    DIFFERENTIABLE_ONCE,
    differentiable_once,
    returns_new_tensor,
)
from lossbench.impls.formulas import ADDED_SQUARE
from lossbench.impls.moving import AveragingCenters, refuse_to_compile
from lossbench.impls.precision import FEW_FEATURES, widened, without_autocast
from lossbench.impls.registry import register

COMPILED = "refused: the gradient would see the moved centres; 'vectorized' is not"


@register(
    "center_all_pairs",
    "fused",
    limits={"compile": COMPILED, "export": COMPILED, **DIFFERENTIABLE_ONCE},
)
class CenterAllPairs(AveragingCenters):
    """One column per distinct label, weighted by its count; the own centres separately.

    The expanded square loses digits if a sample lies close to a centre. Training draws each sample
    to its own centre, so those ``B`` distances are computed from the difference. With few features
    a sample comes close to any centre, so all distances are.
    """

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres."""
        refuse_to_compile("the variant 'fused' of center_all_pairs")
        distinct, places, counts = _columns(labels)
        chosen = self.centers.index_select(0, distinct)
        if embeddings.size(1) <= FEW_FEATURES:
            loss = _by_differences(embeddings, chosen, counts)
        else:
            is_own = labels.unsqueeze(1) == distinct
            loss = _AllPairs.apply(embeddings, chosen, is_own, places, counts)  # type: ignore[no-untyped-call]
        self._move_centers(embeddings, labels)
        return LossOnly(loss)


def _columns(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return distinct labels ``[U]``, each sample's index among them, and their counts.

    Reading their number would wait for the device, so it is read on the CPU only; on other devices
    each sample is a column.
    """
    if not labels.is_cpu:
        places = torch.arange(len(labels), device=labels.device)
        return labels, places, torch.ones_like(labels)
    distinct, places, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    return distinct, places, counts


def _by_differences(x: Tensor, chosen: Tensor, counts: Tensor) -> Tensor:
    """Return the loss of ``x [B, D]`` and ``chosen [U, D]``, formed as ``[B, U, D]``."""
    wide = widened(torch.promote_types(x.dtype, chosen.dtype))
    diff = x.to(wide).unsqueeze(1) - chosen.to(wide)
    distances = (diff.square().sum(2) + ADDED_SQUARE).sqrt()
    return (distances @ counts.to(wide)).sum() / (2 * len(x))


class _AllPairs(torch.autograd.Function):
    """The loss of ``x [B, D]`` and ``chosen [U, D]``, the centres of the distinct labels."""

    @staticmethod
    @returns_new_tensor
    def forward(
        ctx: Any, x: Tensor, chosen: Tensor, is_own: Tensor, places: Tensor, counts: Tensor
    ) -> Tensor:
        wide = widened(torch.promote_types(x.dtype, chosen.dtype))
        shifted_x, shifted_centers, own_diff = _differences(x, chosen, places, wide)
        distances = _distances(shifted_x, shifted_centers)
        own = own_diff.square().sum(1).add_(ADDED_SQUARE).sqrt_()
        # An infinite distance has inverse 0, so it adds nothing to the products.
        inverse = distances.masked_fill_(is_own, torch.inf).reciprocal()
        weights = counts.to(wide)
        own_counts = is_own.to(wide) @ weights
        total = distances.masked_fill_(is_own, 0) @ weights
        loss = (total + own_counts * own).sum() / (2 * len(places))
        inverse *= weights
        ctx.save_for_backward(x, chosen, places, inverse, own_counts / own)
        return loss

    @staticmethod
    @differentiable_once
    @without_autocast
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        x, chosen, places, inverse, own_inverse = ctx.saved_tensors
        wide_x, wide_chosen, own_diff = _differences(x, chosen, places, inverse.dtype)
        scale = grad_loss.to(inverse.dtype) / (2 * len(places))
        own_pull = own_diff.mul_((own_inverse * scale).unsqueeze(1))
        grad_x = grad_chosen = None
        if ctx.needs_input_grad[0]:
            pull = (wide_x * inverse.sum(1, keepdim=True)).addmm_(inverse, wide_chosen, alpha=-1)
            grad_x = torch.addcmul(own_pull, pull, scale).to(x.dtype)
        if ctx.needs_input_grad[1]:
            pull = wide_chosen * inverse.sum(0).unsqueeze(1)
            pull.addmm_(inverse.t(), wide_x, alpha=-1).mul_(scale)
            grad_chosen = pull.index_add_(0, places, own_pull.neg_()).to(chosen.dtype)
        return grad_x, grad_chosen, None, None, None


def _differences(
    x: Tensor, chosen: Tensor, places: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return samples and centres minus the centres' mean, and each sample minus its own centre.

    A common shift does not change the distances, and reduces the digits lost to cancellation.
    """
    wide = chosen.to(dtype)
    shift = wide.mean(0)
    return x.to(dtype) - shift, wide - shift, x.to(dtype) - wide.index_select(0, places)


def _distances(x: Tensor, centers: Tensor) -> Tensor:
    """Return ``√(‖x_i - c_j‖² + 1e-8)`` by the expanded square, ``[B, U]``."""
    squared = torch.addmm(torch.linalg.vecdot(centers, centers), x, centers.t(), alpha=-2)
    squared += torch.linalg.vecdot(x, x).unsqueeze(1)
    return squared.clamp_(min=0).add_(ADDED_SQUARE).sqrt_()
