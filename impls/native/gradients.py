"""Gradients that are computed with the loss, for small sizes: when, and their backward pass."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from lossbench.impls.tracing import is_exporting


class NativeFunction(torch.autograd.Function):
    """A base class of Functions that are called in three quarters of the usual time.

    torch's own ``apply`` looks at its arguments for functorch, in Python, also where that is not
    at work.
    """

    _apply_alone: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Look up the ``apply`` below torch's own once."""
        super().__init_subclass__(**kwargs)
        cls._apply_alone = super(torch.autograd.Function, cls).apply  # type: ignore[misc]

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """Return what ``forward`` returns, with the graph."""
        if is_compiling() or torch._C._are_functorch_transforms_active():
            return super().apply(*inputs)  # type: ignore[no-untyped-call]
        return cls._apply_alone(*inputs)


# Whether the backward pass that runs keeps what was saved for it.
_keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph

# Up to this number of elements the gradients are computed with the loss: a second operator would
# cost more than they do.
FEW_ELEMENTS = 2**16


def are_few(*elements: int) -> bool:
    """Return whether gradients of these numbers of elements are computed with the loss."""
    return not is_exporting() and max(elements) <= FEW_ELEMENTS


def is_half(*tensors: Tensor) -> bool:
    """Return whether a tensor is of half precision.

    Its gradient would underflow before it is multiplied by its upstream gradient, a large scale.
    """
    # A loop takes half the time of any().
    for tensor in tensors:  # noqa: SIM110
        if tensor.element_size() < 4:
            return True
    return False


def scaled(upstream: Tensor, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    """Return gradients times an upstream gradient; themselves if it is 1 and they are used once."""
    if not is_compiling() and not _keeps_graph() and upstream.item() == 1:
        return gradients
    return tuple(None if each is None else (each * upstream).to(each.dtype) for each in gradients)
