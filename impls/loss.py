"""A Loss: one definition, separate from the implementations that compute it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from torch import nn

from lossbench.impls.cost import Cost

DOCUMENTS = "the documents: five web pages, 000 to 004, that print PyTorch code of these losses"

Kind = Literal["loss", "distance"]
Inputs = Literal["labelled", "pairs", "rows", "arrays"]

INPUT_NAMES: Mapping[Inputs, tuple[str, ...]] = MappingProxyType(
    {
        "labelled": ("embeddings", "labels"),
        "pairs": ("x0", "x1", "same"),
        "rows": ("a", "b"),
        "arrays": ("a", "b"),
    }
)


@dataclass(frozen=True)
class Moved:
    """State that a forward pass moves by itself, without an optimizer.

    Attributes:
        name: the name of the parameter or buffer.
        argument: the argument that must be above 0 for the state to move; empty if it always does.
        in_evaluation: true if the state moves in evaluation too.
    """

    name: str
    argument: str = ""
    in_evaluation: bool = False


@dataclass(frozen=True)
class Loss:
    """One definition of a loss, with the facts that are known before anything is computed.

    Attributes:
        name: the name of the loss everywhere, such as ``arcface``.
        summary: a line in the words of the field, such as ``additive angular margin``.
        formula: the equation in plain text.
        document: the number of one of the ``DOCUMENTS`` and the class there; empty without one.
        reference: the module that computes it as the document does.
        inputs: the kind of inputs: ``labelled`` embeddings, ``pairs``, the ``rows`` of two
            matrices, or two ``arrays`` of one shape.
        output: the named tuple that every implementation returns.
        cost: the minimum operations and memory traffic.
        paper: the publication of the loss; empty if the document names no paper.
        departures: the differences of the document, or of the reference that repairs it, from the
            paper and from what one would expect.
        kind: a ``loss``, or a ``distance`` that losses are built from.
        needs_negatives: whether a batch of one class has no loss.
        moved: the state that a forward pass moves; ``None`` if there is none.
        reference_limits: the ``Implementation.limits`` of the reference.
        takes_options: whether the loss accepts ``F.cross_entropy``'s options besides its
            arguments.
        bounds: the lowest and the highest value of each argument with narrower bounds than usual.
    """

    name: str
    summary: str
    formula: str
    reference: type[nn.Module]
    inputs: Inputs
    output: type[tuple[Any, ...]]
    cost: Cost
    document: str = ""
    paper: str = ""
    departures: tuple[str, ...] = field(default=())
    kind: Kind = "loss"
    needs_negatives: bool = False
    moved: Moved | None = None
    reference_limits: Mapping[str, str] = field(default_factory=dict)
    takes_options: bool = False
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """Its arguments by name, as the reference's constructor declares them."""
        # A module may postpone its annotations, which makes them text; eval_str gives the types.
        parameters = inspect.signature(self.reference, eval_str=True).parameters
        # A reference without its own constructor has nn.Module's *args and **kwargs.
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {name: p for name, p in parameters.items() if p.kind in named}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs, the value first."""
        names: tuple[str, ...] = getattr(self.output, "_fields", ())
        return names

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of its inputs, in order."""
        return INPUT_NAMES[self.inputs]

    @cached_property
    def has_classes(self) -> bool:
        """Whether it keeps parameters for a fixed number of classes."""
        return "num_classes" in self.arguments
