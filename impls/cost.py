"""The fewest operations and the least traffic that a Loss can do with, as formulae in its sizes."""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
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
"""The names that a formula may hold, and what they stand for in a batch."""

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
    """What computing a Loss takes at the least, by the best algorithm known.

    A formula is both what is shown and what is computed: sums, differences, products, quotients
    and powers of numbers and of ``SYMBOLS``. The Loss's other arguments have their defaults, and
    every hinge is open.

    Operations: an addition, a multiplication or a change of sign is one, a multiply-add two.
    Counted are those on the elements of embeddings, parameters and their gradients, and on the
    inner products of these, all of which have a factor D. What is done to a score, a length or a
    vector ``[D]`` is left out. A product of a matrix with itself is counted on one side of its
    diagonal; what the forward pass has computed is not computed again; a sum over samples begins
    with its first.

    Elements: of floating matrices, those that must pass through main memory. What a pass looks at
    of inputs and parameters it reads, the backward pass once more, since its upstream gradient is
    known only then; distances, gradients and updated state are written. A gradient is dense, filled
    for absent classes too. Left out are labels, vectors and the loss, logits, which need not be
    formed, and what is kept from one pass to the other.

    The two minima need not be attainable together: the fewest operations may ask for scores to be
    kept, the least traffic for them to be computed again.

    Attributes:
        forward_flops: operations of the forward pass.
        step_flops: those of the forward pass and the backward pass to every input and parameter.
        forward_elements: elements read or written in the forward pass.
        step_elements: those of the forward and the backward pass.

    Raises:
        ValueError: where a formula is anything else.
    """

    forward_flops: str
    step_flops: str
    forward_elements: str
    step_elements: str

    def __post_init__(self) -> None:
        """Refuse what is no formula."""
        for field in fields(self):
            _parse(getattr(self, field.name))

    def flops(self, phase: Phase, sizes: Sizes) -> float:
        """Return the operations of a phase, of the value of each symbol in its formula."""
        return _parse(self.forward_flops if phase == "forward" else self.step_flops)(sizes)

    def traffic_bytes(self, phase: Phase, sizes: Sizes, itemsize: int) -> float:
        """Return the bytes read and written in a phase, of elements of ``itemsize`` bytes."""
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
    """Return what computes a node from the value of each symbol."""
    match node:
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            return lambda _: value
        case ast.Name(name) if name in SYMBOLS:
            return lambda sizes: sizes[name]
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            apply, first, second = _OPERATORS[type(op)], _function(left), _function(right)
            return lambda sizes: apply(first(sizes), second(sizes))
    raise ValueError(f"{ast.dump(node)} is none of these")
