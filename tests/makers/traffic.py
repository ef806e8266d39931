"""What the processes of a group send each other, counted by operator."""

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

NAMES = {
    "all_gather_into_tensor": "all-gather",
    "allgather_": "all-gather",
    "all_reduce": "all-reduce",
    "reduce_scatter_tensor": "reduce-scatter",
}


class Traffic(TorchDispatchMode):
    """Count the collectives, the bytes that each process gives to them, and the largest result.

    Attributes:
        calls: the number of calls of each collective.
        given_bytes: the bytes that this process gave to each collective.
        largest: the largest number of elements of a result of any operator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.given_bytes: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call, and run it."""
        namespace, _, name = func._schema.name.partition("::")
        if namespace in ("_c10d_functional", "c10d") and name != "wait_tensor":
            given = args[0] if namespace == "_c10d_functional" else args[1][0]
            self.calls[NAMES[name]] += 1
            self.given_bytes[NAMES[name]] += given.numel() * given.element_size()
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.numel())
        return result
