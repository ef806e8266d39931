"""Degenerate inputs: changes of an ordinary input that some implementations fail on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lossbench.bench.case.data import DIFFERENTIABLE

BATCH, DIM, CLASSES = 12, 8, 5
NAN = "NaN"


@dataclass(frozen=True)
class Degenerate:
    """One change of an ordinary input.

    Attributes:
        summary: description of the changed input.
        spoil: function that changes copies of the inputs and of the state, in place or by
            replacing them.
        dtype: name of the dtype to test in.
    """

    summary: str
    spoil: Callable[[dict[str, Tensor], dict[str, Tensor]], None]
    dtype: str = "float32"


def _each(change: Callable[[Tensor], Tensor]) -> Callable[..., None]:
    """Return a function that changes every differentiable input."""

    def spoil(inputs: dict[str, Tensor], _state: dict[str, Tensor]) -> None:
        for name in inputs.keys() & set(DIFFERENTIABLE):
            inputs[name] = change(inputs[name])

    return spoil


def _scaled(factor: float) -> Callable[..., None]:
    return _each(lambda tensor: tensor * factor)


def _duplicates(inputs: dict[str, Tensor], _state: dict[str, Tensor]) -> None:
    """Make all samples of a class equal, and both sides of a pair or of a distance block."""
    first = next(iter(inputs.values()))
    if "labels" in inputs:
        inputs["embeddings"] = first[inputs["labels"]]
    for name in inputs.keys() & {"x1", "b"}:
        inputs[name] = first.clone()


def _zero_row(tensor: Tensor) -> Tensor:
    return tensor * (torch.arange(len(tensor)) > 0).unsqueeze(1)


def _nan(tensor: Tensor) -> Tensor:
    return tensor.clone().index_fill_(0, torch.tensor([0]), torch.nan)


def _one_class(inputs: dict[str, Tensor], _state: dict[str, Tensor]) -> None:
    if "labels" in inputs:
        inputs["labels"] = torch.zeros_like(inputs["labels"])
    if "same" in inputs:
        inputs["same"] = torch.ones_like(inputs["same"])


def _singletons(inputs: dict[str, Tensor], _state: dict[str, Tensor]) -> None:
    for name, tensor in inputs.items():
        inputs[name] = tensor[:CLASSES]
    if "labels" in inputs:
        inputs["labels"] = torch.arange(CLASSES)
    if "same" in inputs:
        inputs["same"] = torch.zeros_like(inputs["same"])


def _zero_class(_inputs: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    for name, tensor in state.items():
        if name == "weight":
            tensor[:, 0] = 0
        if name == "centers":
            tensor[0] = 0


def _along_the_weight(sign: int) -> Callable[..., None]:
    """Return a function that sets each embedding to ``sign`` times its class's weight or centre."""

    def spoil(inputs: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        if "weight" in state:
            inputs["embeddings"] = sign * state["weight"].t()[inputs["labels"]]
        elif "centers" in state:
            inputs["embeddings"] = sign * state["centers"][inputs["labels"]]

    return spoil


def _empty(inputs: dict[str, Tensor], _state: dict[str, Tensor]) -> None:
    for name, tensor in inputs.items():
        inputs[name] = tensor[:0]


DEGENERATE: Mapping[str, Degenerate] = {
    "duplicates": Degenerate("equal samples within a class, equal pairs", _duplicates),
    "zero row": Degenerate("one sample is 0", _each(_zero_row)),
    "all zero": Degenerate("every sample is 0", _scaled(0)),
    "zero class": Degenerate("one class's weight or centre is 0", _zero_class),
    "one class": Degenerate("all samples in one class, all pairs similar", _one_class),
    "singletons": Degenerate("one sample per class, no pair similar", _singletons),
    "cosine 1": Degenerate("each sample is its class's weight or centre", _along_the_weight(1)),
    "cosine -1": Degenerate("each sample is the negative of it", _along_the_weight(-1)),
    "x 1e3": Degenerate("large samples", _scaled(1e3)),
    "x 1e20": Degenerate("huge samples", _scaled(1e20)),
    "x 1e-20": Degenerate("tiny samples", _scaled(1e-20)),
    "float16 x 60": Degenerate("samples near the overflow of float16", _scaled(60), "float16"),
    NAN: Degenerate("one sample is NaN", _each(_nan)),
    "empty": Degenerate("a batch of 0 samples", _empty),
}
