"""The checks of pairs of embeddings, of the rows of two matrices, and of two arrays."""

import torch
from torch import Tensor
from torch.compiler import is_compiling

from lossbench.impls.checks.base import PLAIN, InputCheck


class PairsCheck(InputCheck):
    """A check of ``x0 [B, D]``, ``x1 [B, D]`` and ``same [B]`` or ``[1]``."""

    def fits(self, x0: Tensor, x1: Tensor, same: Tensor) -> bool:
        """Return whether the inputs are plain tensors and fit."""
        batch, dim = x0.shape
        (count,) = same.shape
        return (
            PLAIN.issuperset((type(x0), type(x1), type(same)))
            and x0.is_floating_point()
            and x1.is_floating_point()
            and x0.shape == x1.shape
            and count in (1, batch)
            and batch > 0
            and dim > 0
            and (not same.is_cpu or self._values_fit(same))
        )

    def _values_fit(self, same: Tensor) -> bool:
        # It turns a negative number into 0, 0 into itself, and a positive number into 1.
        return not same.requires_grad and torch.equal(torch.heaviside(same, same), same)

    def check(self, x0: Tensor, x1: Tensor, same: Tensor) -> None:
        """Refuse the inputs where their shapes, dtypes or values do not fit."""
        self._check_matrix("x0", x0)
        self._check_floating(x1=x1)
        self._check_shape("x1", x1, "x0", x0)
        if same.dim() != 1 or same.size(0) not in (1, x0.size(0)):
            self._refuse(f"same must be [{len(x0)}] or [1], got {list(same.shape)}")
        self._check_batch("x0", x0)
        if same.device.type == "cpu" and not is_compiling():
            self._check_values(same)

    def _check_values(self, same: Tensor) -> None:
        wrong = (same != 0) & (same != 1)
        if wrong.any():
            self._refuse(f"same must be 0 or 1, got {same[wrong][0].item()}")


class RowsCheck(InputCheck):
    """A check of ``a [M, D]`` and ``b [N, D]``."""

    def fits(self, a: Tensor, b: Tensor) -> bool:
        """Return whether the inputs are plain tensors and fit."""
        _, dim = a.shape
        _, other = b.shape
        return (
            PLAIN.issuperset((type(a), type(b)))
            and a.is_floating_point()
            and b.is_floating_point()
            and dim == other > 0
        )

    def check(self, a: Tensor, b: Tensor) -> None:
        """Refuse the inputs where their shapes or dtypes do not fit."""
        self._check_matrix("a", a)
        self._check_matrix("b", b)
        if a.size(1) != b.size(1):
            self._refuse(f"b must be [N, {a.size(1)}] as a is, got {list(b.shape)}")


class ArraysCheck(InputCheck):
    """A check of two arrays of one shape."""

    def fits(self, a: Tensor, b: Tensor) -> bool:
        """Return whether the inputs are plain tensors and fit."""
        return (
            PLAIN.issuperset((type(a), type(b)))
            and a.is_floating_point()
            and b.is_floating_point()
            and a.shape == b.shape
        )

    def check(self, a: Tensor, b: Tensor) -> None:
        """Refuse the inputs where their shapes or dtypes do not fit."""
        self._check_floating(a=a, b=b)
        self._check_shape("b", b, "a", a)
