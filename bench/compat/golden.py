"""The golden vectors: what the documents' own code gives, in float64, and who else gives it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.workload import dense, whole
from lossbench.bench.measure.deviation import relative_error
from lossbench.bench.paths import GOLDEN

# float64 keeps 15 digits; the orders of summation of two implementations agree in most of them.
GOLDEN_TOLERANCE = 1e-9


@dataclass(frozen=True)
class GoldenVector:
    """The inputs of one call of a document's code, and what it gave.

    Attributes:
        name: name of the vector, as in ``arcface-document``.
        loss: name of the Loss.
        arguments: arguments of the Loss.
        arrays: tensors by name: ``in.*``, ``state.*``, ``out.*``, ``grad.*`` and ``after.*``.
    """

    name: str
    loss: str
    arguments: Mapping[str, Any]
    arrays: Mapping[str, Tensor]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors of a group such as ``in``, by their names within it."""
        start = f"{prefix}."
        return {k.removeprefix(start): t for k, t in self.arrays.items() if k.startswith(start)}

    def results(self, implementation: impls.Implementation) -> dict[str, Tensor]:
        """Return what an implementation gives for these inputs, by the names of the arrays."""
        module = implementation.build(**self.arguments).double()
        module.load_state_dict(self.group("state"))
        inputs, gradients = {k: t.clone() for k, t in self.group("in").items()}, self.group("grad")
        for name in inputs.keys() & gradients.keys():
            inputs[name].requires_grad_()
        out = module(**inputs)
        leaves = {**inputs, **dict(module.named_parameters())}
        given = {f"out.{name}": getattr(out, name) for name in self.group("out")}
        if gradients:
            wanted = [leaves[name] for name in gradients]
            found = torch.autograd.grad(out[0].sum(), wanted)
            pairs = zip(gradients, found, wanted, strict=True)
            given |= {f"grad.{name}": dense(gradient, leaf) for name, gradient, leaf in pairs}
        given |= {f"after.{name}": whole(tensor) for name, tensor in module.state_dict().items()}
        return {name: tensor.detach() for name, tensor in given.items() if tensor is not None}

    def failure(self, implementation: impls.Implementation) -> str:
        """Return how an implementation departs from the vector; an empty text if it gives it."""
        given = self.results(implementation)
        expected = {k: t for k, t in self.arrays.items() if not k.startswith(("in.", "state."))}
        left_out = {f"out.{name}" for name in implementation.leaves_out}
        if given.keys() != expected.keys() - left_out:
            return f"expected {', '.join(expected)}; got {', '.join(given)}"
        errors = {name: relative_error(tensor, expected[name]) for name, tensor in given.items()}
        wrong = {name: error for name, error in errors.items() if not error <= GOLDEN_TOLERANCE}
        return "; ".join(f"{name} is off by {error:.1e}" for name, error in wrong.items())


@cache
def golden_vectors() -> tuple[GoldenVector, ...]:
    """Return all golden vectors, which come with lossbench."""
    cases = json.loads((GOLDEN / "cases.json").read_text())
    return tuple(
        GoldenVector(name, case["loss"], case["hyper"], _arrays(name))
        for name, case in cases.items()
    )


def golden_of(loss: str) -> tuple[GoldenVector, ...]:
    """Return the golden vectors of a Loss; a Loss without a document's code has none."""
    return tuple(vector for vector in golden_vectors() if vector.loss == loss)


def _arrays(name: str) -> dict[str, Tensor]:
    import numpy as np

    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(np.array(arrays[key])) for key in arrays.files}
