"""Mixed and half precision: the loss's dtype and value, a scaler's scale, finite gradients."""

from collections.abc import Callable
from itertools import pairwise

import torch

from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import LoopNet, Trainee, gradients_of

STEPS = 12
FIRST_SCALE = 2.0**16
# A gradient beyond 65,504 at a scale of 65,536 is the model's, as with any loss.
MOST_LEFT_OUT = 6


def _check_finite(what: str, *tensors: torch.Tensor) -> None:
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise AssertionError(f"{what} is not finite")


def scales_of(trainee: Trainee, dtype: torch.dtype, *, lowered: bool) -> list[float]:
    """Return a GradScaler's scale after each of 12 steps, which it doubles after four good ones.

    Args:
        trainee: the trainee.
        dtype: the dtype of autocast.
        lowered: whether the backbone is within autocast too, so that it rounds its gradients.

    Raises:
        AssertionError: where a scaled loss or a parameter is not finite.
    """
    net = LoopNet(trainee)
    optimizer = torch.optim.SGD(net.parameters(), 1e-4)
    scaler = torch.amp.GradScaler("cpu", init_scale=FIRST_SCALE, growth_interval=4)
    scales = []
    for index in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            loss = net(*trainee.draw(index, dtype=torch.float32), lowered=lowered)
        scaled = scaler.scale(loss)
        _check_finite("the scaled loss", scaled)
        scaled.backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    _check_finite("a parameter", *net.parameters())
    return scales


def _under_autocast(dtype: torch.dtype) -> Callable[[Trainee], None]:
    def check(trainee: Trainee) -> None:
        inputs = trainee.draw(dtype=torch.float32)
        with torch.autocast("cpu", dtype=dtype):
            loss = LoopNet(trainee)(*inputs)
        if loss.dtype != torch.float32:
            raise AssertionError(f"the loss is {loss.dtype}, not torch.float32")
        exact = LoopNet(trainee.standard)(*inputs)
        if not torch.allclose(loss, exact, rtol=0.05, atol=0.05):
            raise AssertionError(f"the loss is {loss:.4g}, in float32 {exact:.4g}")
        if trainee.loss.kind == "loss":
            scales = [FIRST_SCALE, *scales_of(trainee, dtype, lowered=True)]
            left_out = sum(after < before for before, after in pairwise(scales))
            if left_out > MOST_LEFT_OUT:
                raise AssertionError(f"the scaler leaves out {left_out} of {STEPS} steps")

    return check


def _in_half(dtype: torch.dtype) -> Callable[[Trainee], None]:
    def check(trainee: Trainee) -> None:
        net = LoopNet(trainee).to(dtype)
        loss = net(*trainee.draw(dtype=dtype))
        loss.backward()
        if loss.dtype != dtype:
            raise AssertionError(f"the loss is {loss.dtype}, not {dtype}")
        _check_finite("the loss", loss)
        _check_finite("a gradient", *gradients_of(net).values())
        with torch.autocast("cpu", dtype=dtype):
            loss = LoopNet(trainee).to(dtype)(*trainee.draw(dtype=dtype))
        if loss.dtype != torch.float32:
            raise AssertionError(f"under autocast the loss is {loss.dtype}, not torch.float32")

    return check


def _takes(dtype: torch.dtype) -> Callable[[Trainee], bool]:
    return lambda trainee: trainee.implementation.unsupported("cpu", dtype) is None


HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}

PRECISION = (
    *(
        Situation(
            f"autocast {name}",
            "the loss is float32 and near the exact one; 12 steps under a GradScaler",
            _under_autocast(dtype),
            limit="autocast",
        )
        for name, dtype in HALVES.items()
    ),
    *(
        Situation(
            f"{name} inputs",
            "at ordinary scale the loss and its gradients are finite; under autocast it is float32",
            _in_half(dtype),
            applies=_takes(dtype),
        )
        for name, dtype in HALVES.items()
    ),
)
