"""The minimum operations and memory traffic of a Loss, as formulas of its sizes."""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, TypeAlias

Phase = Literal["forward", "step"]
Sizes: TypeAlias = Mapping[str, int]

SYMBOLS: Mapping[str, str] = MappingProxyType(
    {
        "B": "samples, and the rows of either side of a distance block",
        "D": "dimensions",
        "C": "classes",
        "U": "distinct labels",
    }
)
"""The symbols that a formula may contain, and their meaning in a batch."""

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.Pow: operator.pow,
    }
)


@dataclass(frozen=True)
class Cost:
    """The minimum cost of computing a Loss by the best known algorithm.

    A formula is printed and also evaluated. It consists of sums, differences, products, quotients
    and powers of numbers and of ``SYMBOLS``. It assumes the defaults of the Loss's other arguments,
    and that every hinge is open.

    Operations: an addition, a multiplication or a change of sign is one, a multiply-add two.
    Counted are operations on the elements of embeddings, parameters and their gradients, and on
    their inner products; all these counts have a factor D. Not counted are operations on a score,
    a length or a vector ``[D]``. A product of a matrix with itself is counted on one side of its
    diagonal; a result of the forward pass is not computed again; a sum over n samples is n - 1
    additions.

    Elements: the elements of floating matrices that must pass through main memory. The forward
    pass reads the inputs and parameters that it needs; the backward pass reads them again, since
    its upstream gradient is known only then. Distances, gradients and updated state are written. A
    gradient is dense, also for absent classes. Not counted are labels, vectors, the loss, tensors
    saved for the backward pass, and logits, because they need not be formed.

    The two minima may exclude each other: the fewest operations may need the scores to be saved,
    and the least traffic may need them to be computed again.

    Attributes:
        forward_flops: the number of operations of the forward pass.
        step_flops: the number of operations of the forward pass and of the backward pass to every
            input and parameter.
        forward_elements: the number of elements read or written in the forward pass.
        step_elements: the number of elements read or written in the forward and backward pass.
        pruned_flops: the number of operations that are left if bounds exclude all other work, which
            depends on the data; empty if nothing can be excluded.

    Raises:
        ValueError: if a formula contains anything else.
    """

    forward_flops: str
    step_flops: str
    forward_elements: str
    step_elements: str
    pruned_flops: str = ""

    def __post_init__(self) -> None:
        """Refuse a text that is not a formula."""
        for field in fields(self):
            if getattr(self, field.name) or field.default is MISSING:
                _parse(getattr(self, field.name))

    def flops(self, phase: Phase, sizes: Sizes) -> float:
        """Return the number of operations of a phase, for the value of each symbol."""
        return _parse(self.forward_flops if phase == "forward" else self.step_flops)(sizes)

    def least_flops(self, sizes: Sizes) -> float:
        """Return the number of operations that no exact algorithm can leave out, in either phase.

        Those of the backward pass are not among them: in training, most of the softmax's gradients
        become too small to change a result, and can be left out.
        """
        return _parse(self.pruned_flops or self.forward_flops)(sizes)

    def traffic_bytes(self, phase: Phase, sizes: Sizes, itemsize: int) -> float:
        """Return the bytes read and written in a phase, for elements of ``itemsize`` bytes."""
        formula = self.forward_elements if phase == "forward" else self.step_elements
        return itemsize * _parse(formula)(sizes)


@lru_cache
def _parse(formula: str) -> Callable[[Sizes], float]:
    try:
        return _function(ast.parse(formula, mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"expected a formula of numbers, {', '.join(SYMBOLS)} and + - * / **, got {formula!r}"
        ) from error


def _function(node: ast.expr) -> Callable[[Sizes], float]:
    """Return a function that computes a node from the value of each symbol."""
    match node:
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            return lambda _: value
        case ast.Name(name) if name in SYMBOLS:
            return lambda sizes: sizes[name]
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            apply, first, second = _OPERATORS[type(op)], _function(left), _function(right)
            return lambda sizes: apply(first(sizes), second(sizes))
    raise ValueError(f"{ast.dump(node)} is none of these")
