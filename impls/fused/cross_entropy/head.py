"""Turn a product ``x_i · w_j`` into a logit: divide by lengths, scale, add a target's margin."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lossbench.impls.tracing import is_exporting

# As torch.nn.functional.normalize: a shorter vector is divided by this.
LEAST_LENGTH = 1e-12
# Replaces a length of 0 in a division, for the direction of a row.
LEAST_RADIUS = 1e-30
# The elements that the target's cosines are computed from at once: 1 MiB in float64.
COSINE_ELEMENTS = 2**17


class Columns(NamedTuple):
    """The scale of each weight column, and the projection of its gradient.

    With ``u = scale · w`` and ``a = ∂loss/∂u`` the gradient of ``w`` is
    ``scale · (a - radial · u (u · a))``.

    Attributes:
        scale: the scale of each column, ``[C]``.
        radial: the factor of the projection, ``[C]``; 1 for columns normalised to length 1, and 0
            for a constant ``scale``.
    """

    scale: Tensor
    radial: Tensor

    def of(self, start: int, stop: int) -> "Columns":
        """Return the part for the columns ``start:stop``."""
        return Columns(self.scale[start:stop], self.radial[start:stop])

    def grad(
        self,
        grad: Tensor,
        columns: Tensor,
        products: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Turn the gradient of the scaled ``columns [D, C]``, overwritten, into the weight's.

        Args:
            grad: the gradient of the scaled columns, ``[D, C]``; overwritten.
            columns: the scaled weight columns ``[D, C]``.
            products: a buffer ``[D, C]`` to write products to; ``None`` allocates one.
            out: a tensor ``[D, C]`` of any dtype for the result; ``None`` overwrites ``grad``.
        """
        along = torch.mul(columns, grad, out=products).sum(0).mul_(self.radial)
        grad.addcmul_(columns, along, value=-1)
        return torch.mul(grad, self.scale, out=grad if out is None else out)


def unit_columns(lengths: Tensor) -> Columns:
    """Divide columns by their ``lengths [C]``."""
    return Columns(lengths.clamp(min=LEAST_LENGTH).reciprocal_(), lengths >= LEAST_LENGTH)


def max_norm_columns(lengths: Tensor) -> Columns:
    """Stretch columns of 1e-5 or less by 1e5, and divide the longer ones by their length + 1e-7."""
    short = lengths <= 1e-5
    scale = (lengths + 1e-7).reciprocal_().masked_fill_(short, 1e5)
    return Columns(scale, (scale * lengths).reciprocal_().masked_fill_(short, 0))


class Margin(NamedTuple):
    """A margin's ``value [B, 1]`` at the target's cosine, and its ``slope [B, 1]`` there."""

    value: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Head:
    """How a loss turns products into logits, and weighs its samples.

    Attributes:
        columns: a function from the columns' lengths to their scale; ``None`` leaves them.
        scale: the length that rows are brought to; ``None`` leaves them.
        margin: a function from the target's cosine, in float64, to its substitute; or ``None``.
        gamma: the power of the focal factor ``(1 - p)^γ``, which has no gradient.
    """

    columns: Callable[[Tensor], Columns] | None = None
    scale: float | None = None
    margin: Callable[[Tensor], Margin] | None = None
    gamma: float = 0

    @property
    def bounded(self) -> bool:
        """Whether all products are within ±64, so that their powers do not overflow in float32."""
        return self.columns is not None and self.scale is not None and abs(self.scale) <= 64


class Rows(NamedTuple):
    """The embeddings scaled for a Head: to unit length, times its scale or their own length.

    Attributes:
        given: the embeddings ``[B, D]``, in the dtype to compute in.
        scaled: the rows to multiply with the scaled columns for the logits, ``[B, D]``.
        lengths: the rows' lengths ``[B, 1]``, in float64; ``None`` if the rows are not scaled.
        factor: the quotient ``scaled / given``, ``[B, 1]``; ``None`` if the rows are not scaled.
        scale: the ``scale`` of the Head.
    """

    given: Tensor
    scaled: Tensor
    lengths: Tensor | None
    factor: Tensor | None
    scale: float | None

    @classmethod
    def of(cls, embeddings: Tensor, dtype: torch.dtype, head: Head) -> "Rows":
        """Return the rows of ``embeddings [B, D]``, in ``dtype``."""
        given = embeddings.to(dtype)
        if head.scale is None and head.margin is None:
            return cls(given, given, None, None, None)
        lengths = torch.linalg.vector_norm(given, dim=1, keepdim=True, dtype=torch.float64)
        held = lengths.clamp(min=LEAST_LENGTH)
        factor = lengths / held if head.scale is None else held.reciprocal_().mul_(head.scale)
        factor = factor.to(dtype)
        return cls(given, given * factor, lengths, factor, head.scale)

    def grad(self, grad: Tensor, stretch: Tensor | None) -> Tensor:
        """Turn the gradient of the scaled rows ``[B, D]``, in place, into the embeddings'.

        Args:
            grad: the gradient of the scaled rows, ``[B, D]``; overwritten.
            stretch: the derivative by the length that a margin adds, ``[B, 1]``.
        """
        if self.lengths is None or self.factor is None:
            return grad
        if self.scale is None:
            return self._grad_of_own_length(grad, self.lengths, self.factor, stretch)
        along = (self.scaled * grad).sum(1, keepdim=True).mul_(self.lengths >= LEAST_LENGTH)
        radial = -1 / self.scale**2 if self.scale else 0
        return grad.addcmul_(self.scaled, along, value=radial).mul_(self.factor)

    def _grad_of_own_length(
        self, grad: Tensor, lengths: Tensor, factor: Tensor, stretch: Tensor | None
    ) -> Tensor:
        # A row below LEAST_LENGTH is divided by that, so it grows with its length squared.
        along = (self.given * grad).sum(1, keepdim=True) / LEAST_LENGTH * (lengths < LEAST_LENGTH)
        if stretch is not None:
            along += stretch
        bend = (along / lengths.clamp(min=LEAST_RADIUS)).to(grad.dtype)
        return grad.mul_(factor).addcmul_(self.given, bend)


class Target(NamedTuple):
    """The target's logits under a margin, ``[B, 1]`` each.

    Attributes:
        logit: the substitute for the target's product.
        slope: the logit's derivative by the product.
        stretch: the logit's derivative by the embedding's length, if that is the row's scale.
    """

    logit: Tensor
    slope: Tensor
    stretch: Tensor | None

    @classmethod
    def of(cls, rows: Rows, weight: Tensor, labels: Tensor, head: Head) -> "Target | None":
        """Return those of ``weight [D, C]`` and ``labels [B]``; ``None`` without a margin."""
        if head.margin is None or rows.lengths is None:
            return None
        held = rows.lengths.clamp(min=LEAST_LENGTH)
        cosine = _target_products(rows.given, weight, labels).div_(held).clamp_(-1, 1)
        value, slope = head.margin(cosine)
        dtype = rows.given.dtype
        if head.scale is not None:
            return cls((value * head.scale).to(dtype), slope.to(dtype), None)
        stretch = value - cosine * slope
        return cls((value * rows.lengths).to(dtype), slope.to(dtype), stretch.to(dtype))


def _target_products(given: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Return the products of the rows with their targets' unit columns, ``[B, 1]``.

    They are float64, because a margin's slope is steep at a cosine of ±1, and its clamp there
    changes the slope within a rounding error.
    """
    if is_exporting():
        return _unit_products(given, weight, labels)
    at_once = max(1, COSINE_ELEMENTS // max(1, given.size(1)))
    parts = zip(torch.split(given, at_once), torch.split(labels, at_once), strict=True)
    products = [_unit_products(rows, weight, targets) for rows, targets in parts]
    return products[0] if len(products) == 1 else torch.cat(products)


def _unit_products(rows: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    columns = weight.index_select(1, targets).t().double()
    lengths = torch.linalg.vector_norm(columns, dim=1, keepdim=True).clamp_(min=LEAST_LENGTH)
    return (rows * columns).sum(1, keepdim=True).div_(lengths)
