"""Count what a rank gives to the other ranks in a step, by kind of collective."""

from collections.abc import Callable
from typing import Any

from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# The kind of an operator, and the number of the argument with what a rank gives.
COLLECTIVES = {
    "_c10d_functional::all_gather_into_tensor": ("all-gather", 0),
    "_c10d_functional::all_reduce": ("all-reduce", 0),
    "_c10d_functional::reduce_scatter_tensor": ("reduce-scatter", 0),
    "c10d::allgather_": ("all-gather", 1),
    "c10d::allreduce_": ("all-reduce", 0),
}


@dataclass(frozen=True)
class Collective:
    """One call of a collective.

    Attributes:
        kind: ``all-gather``, ``all-reduce`` or ``reduce-scatter``.
        given_bytes: bytes that each rank gives to it.
    """

    kind: str
    given_bytes: int


@dataclass(frozen=True)
class Traffic:
    """The collectives of one step on one rank, in order.

    Attributes:
        collectives: every call.
    """

    collectives: tuple[Collective, ...]

    @property
    def calls(self) -> int:
        """The number of collectives."""
        return len(self.collectives)

    @property
    def given_bytes(self) -> int:
        """The bytes that the rank gives to all of them."""
        return sum(each.given_bytes for each in self.collectives)


class TrafficCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the collectives of the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen: list[Collective] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record a call, and run it."""
        if any(each.__name__ == "DTensor" for each in types):
            # It comes again with the local tensors, and its collectives with them.
            return NotImplemented
        if func._schema.name in COLLECTIVES:
            kind, place = COLLECTIVES[func._schema.name]
            given = args[place] if isinstance(args[place], Tensor) else args[place][0]
            self._seen.append(Collective(kind, given.nbytes))
        return func(*args, **(kwargs or {}))

    @property
    def traffic(self) -> Traffic:
        """The collectives so far."""
        return Traffic(tuple(self._seen))


def traffic_of(call: Callable[[], object]) -> Traffic:
    """Return the collectives of a call on this rank."""
    with TrafficCounter() as counter:
        call()
    traffic: Traffic = counter.traffic
    return traffic
