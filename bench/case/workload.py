"""Make the tensors of a Case, and run one forward or one step of an implementation on them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.data import DIFFERENTIABLE, make_inputs
from lossbench.bench.case.draws import DRAWS, draw_of
from lossbench.bench.machine.compiler import start_compiler
from lossbench.bench.machine.guards import StateChanged
from lossbench.impls.registry import REFERENCE

# The axis of the embedding dimension, by the name of an input or a parameter.
FEATURE_AXES = {**dict.fromkeys(DIFFERENTIABLE, 1), "weight": 0, "centers": 1}


@dataclass(frozen=True)
class Outcome:
    """The results of one step, by name.

    Attributes:
        outputs: fields of the returned named tuple that were computed.
        gradients: gradients of every differentiable input and parameter.
        state: parameters and buffers after the step.
    """

    outputs: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    state: Mapping[str, Tensor]


@dataclass(frozen=True)
class Workload:
    """The inputs, the initial state and the upstream gradient of a Case.

    Attributes:
        case: case of the workload.
        inputs: inputs of each draw; ``bench.case.draws`` says what each kind is for.
        state: initial state of the reference, rounded to the dtype of the parameters.
        cotangents: upstream gradient of each draw; ``None`` stands for 1.0, as in training.
    """

    case: Case
    inputs: tuple[Mapping[str, Tensor], ...]
    state: Mapping[str, Tensor]
    cotangents: tuple[Tensor | None, ...]

    @classmethod
    def of(cls, case: Case, draws: int = len(DRAWS)) -> "Workload":
        """Make the workload of a Case on its device.

        Args:
            case: case to make the workload of.
            draws: number of draws, from the timed one on.

        Raises:
            UsageError: if the registry has no such Loss, or the Loss does not accept the sizes.
        """
        case.checked()
        inputs = tuple(make_inputs(case, draw) for draw in range(draws))
        torch.manual_seed(case.seed)
        initial = impls.implementation(case.loss, REFERENCE).build(**case.arguments)
        initial.to(device=case.device, dtype=case.held_dtype)
        cotangents = tuple(_cotangent(case, batch, draw) for draw, batch in enumerate(inputs))
        return cls(case, inputs, initial.state_dict(), cotangents)

    def exact(self) -> "Workload":
        """Return the same workload in float64 on the CPU, with the numbers already rounded."""
        exact = replace(self.case, dtype="float64", device="cpu", autocast=False)
        return self.rounded(exact)

    def rounded(self, case: Case) -> "Workload":
        """Return the same workload in the dtype and on the device of a Case."""

        def cast(tensor: Tensor) -> Tensor:
            dtype = case.held_dtype if tensor.is_floating_point() else tensor.dtype
            return tensor.to(case.device, dtype)

        return Workload(
            case,
            tuple({name: cast(t) for name, t in batch.items()} for batch in self.inputs),
            {name: cast(t) for name, t in self.state.items()},
            tuple(None if c is None else cast(c) for c in self.cotangents),
        )

    def mirrored(self) -> "Workload":
        """Return the workload with features in reverse order; only the rounding may differ."""
        *inputs, state = (
            {name: mirrored(name, tensor) for name, tensor in named.items()}
            for named in (*self.inputs, self.state)
        )
        return replace(self, inputs=tuple(inputs), state=state)

    def module(self, implementation: impls.Implementation, *, validate: bool = True) -> nn.Module:
        """Return a module of an implementation, in the case's dtype and initial state."""
        if is_compiled(implementation):
            start_compiler()
        return self.built(implementation, validate=validate)

    def built(self, implementation: impls.Implementation, *, validate: bool = True) -> nn.Module:
        """Return such a module, without a start of the compiler that it may need."""
        module = implementation.build(validate=validate, **self.case.arguments)
        module.to(device=self.case.device, dtype=self.case.held_dtype)
        self.reset(module)
        return module

    def reset(self, module: nn.Module, draw: int = 0) -> None:
        """Put a module into the state that a draw begins with; draw 0 has the initial state.

        The other draws have the classes of the initial state in another order. These are other
        numbers in the same tensors, so nothing that a module derived from its state is still right.
        """
        module.load_state_dict(
            {name: _turned(name, tensor, draw) for name, tensor in self.state.items()}
        )

    def leaves(self, draw: int = 0) -> dict[str, Tensor]:
        """Return copies of the inputs of a draw; the differentiable ones require a gradient."""
        copy = _strided if draw_of(draw).strided else Tensor.clone
        return {
            name: copy(tensor).requires_grad_(name in DIFFERENTIABLE)
            for name, tensor in self.inputs[draw].items()
        }

    def outputs(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
        """Return the outputs of a module, computed under autocast if the case says so."""
        if not self.case.autocast:
            return module(**inputs)
        with torch.autocast(self.case.device, self.case.torch_dtype):
            return module(**inputs)

    def gradients(self, out: Any, wanted: list[Tensor], draw: int = 0) -> tuple[Tensor | None, ...]:
        """Return the gradients of the first output, which is the loss, as in training."""
        return torch.autograd.grad(out[0], wanted, self.cotangents[draw], allow_unused=True)

    def step(self, module: nn.Module, draw: int = 0) -> Outcome:
        """Return the results of one forward and backward of a module.

        Raises:
            StateChanged: if the module changed an input.
        """
        inputs = self.leaves(draw)
        targets = trainable(module, inputs)
        out = self.outputs(module, inputs)
        gradients = self.gradients(out, list(targets.values()), draw)
        for name, tensor in self.inputs[draw].items():
            if not torch.allclose(inputs[name], tensor, rtol=0, atol=0, equal_nan=True):
                raise StateChanged(f"it changed its input {name}")
        return Outcome(
            {
                name: value.detach()
                for name, value in zip(out._fields, out, strict=True)
                if value is not None
            },
            {
                name: dense(gradient, target)
                for (name, target), gradient in zip(targets.items(), gradients, strict=True)
            },
            {name: whole(t.detach()).clone() for name, t in module.state_dict().items()},
        )


def is_compiled(implementation: impls.Implementation) -> bool:
    """Return whether an implementation is compiled, of this tree or of another."""
    # asv and the gate also measure the first commits, which had no attribute ``compiled``.
    return bool(getattr(implementation, "compiled", False))


def trainable(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs and the parameters that require a gradient, by name."""
    named = {**inputs, **dict(module.named_parameters())}
    return {name: tensor for name, tensor in named.items() if tensor.requires_grad}


def _cotangent(case: Case, batch: Mapping[str, Tensor], draw: int) -> Tensor | None:
    """Return the random upstream gradient of a draw, ``None`` for 1.

    That of a distance block is as large as the distances. That of a loss is a number between 1/4
    and 3/4, of either sign. It is not above 1, because float16 could overflow.
    """
    loss, generator = impls.loss(case.loss), torch.Generator().manual_seed(case.seed + draw)
    if loss.kind == "loss":
        if not draw_of(draw).scaled:
            return None
        sign = -1 if draw % 2 else 1
        factor = sign * (0.25 + torch.rand((), generator=generator) / 2)
        return factor.to(case.device, case.held_dtype)
    a, b = batch.values()
    shape = () if loss.inputs == "arrays" else (len(a), len(b))
    return torch.randn(shape, generator=generator).to(a)


def _turned(name: str, tensor: Tensor, draw: int) -> Tensor:
    """Return a parameter with its classes moved by ``draw`` places."""
    return tensor.roll(draw, 1 - FEATURE_AXES[name]) if draw and name in FEATURE_AXES else tensor


def _strided(tensor: Tensor) -> Tensor:
    """Return a copy as a view of every other row and column of a larger tensor, from the second.

    The gaps have NaN, or the first of the integers, so a result that depends on them is wrong.
    """
    gaps = torch.nan if tensor.is_floating_point() else tensor.flatten()[0].item()
    room = tensor.new_full([2 * size for size in tensor.shape], gaps)
    view = room[(slice(1, None, 2),) * tensor.dim()]
    return view.copy_(tensor)


def mirrored(name: str, tensor: Tensor) -> Tensor:
    """Return an input, a parameter or its gradient, with the features in reverse order."""
    return tensor.flip(FEATURE_AXES[name]) if name in FEATURE_AXES else tensor


def dense(gradient: Tensor | None, target: Tensor) -> Tensor:
    """Return the gradient of a target as one dense tensor; it is 0 if there is none."""
    if gradient is None:
        return torch.zeros_like(whole(target))
    return gradient.to_dense() if gradient.is_sparse else whole(gradient)


def whole(tensor: Any) -> Tensor:
    """Return the shards of all processes as one tensor; any other tensor is returned as it is."""
    joined: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return joined
