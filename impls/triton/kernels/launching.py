"""How every kernel is tuned, launched, and recorded for a compilation without a GPU."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch.library import wrap_triton

INTERPRETED: bool = triton.knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter, on the CPU."""

# Whether an address or a number is a multiple of this decides how wide its loads are.
ALIGNMENT = 16
# The compute capability from which a product's operands stay in shared memory.
HOPPER = 90


def sized(number: int, *, interpreted: int) -> int:
    """Return a number, or a small one by which the interpreter reaches every loop and border."""
    return interpreted if INTERPRETED else number


ROW_TILE = sized(128, interpreted=16)
"""The rows of a tile where the host must know their number, so that it is not tuned."""

Grid = tuple[int, ...] | Callable[[Mapping[str, int]], tuple[int, ...]]


def config(warps: int, stages: int, **blocks: int) -> triton.Config:
    """Return a configuration: tile sizes, warps of a program, and stages of its pipeline."""
    return triton.Config(blocks, num_warps=warps, num_stages=stages)


def tuned(
    *configs: triton.Config, small: triton.Config, odd: triton.Config, key: Sequence[str]
) -> Callable[[Any], Any]:
    """Decorate a kernel that chooses the fastest of a few configurations at its first launch.

    Args:
        *configs: the configurations, the default from Hopper on first.
        small: the default before Hopper, where operands of a product need registers.
        odd: the default on any chip if a size of the key is no multiple of ``ALIGNMENT``. Each
            element of such a row is loaded by an instruction of its own, with an address in
            registers, so that only smaller tiles fit into these.
        key: the arguments that a choice depends on, beside the dtypes. The batch is none of them:
            a last batch of another size must not tune again.
    """
    choices = [*configs, odd, small]
    if INTERPRETED:
        choices = [triton.Config(dict.fromkeys(small.kwargs, 16))]
    decorate = triton.autotune(configs=choices, key=list(key))

    def decorated(kernel: Any) -> Any:
        _tuned.append(decorate(kernel))
        _tuned[-1].odd = odd
        return _tuned[-1]

    return decorated


@dataclass(frozen=True)
class Launch:
    """A launch that was asked for.

    Attributes:
        kernel: the kernel.
        arguments: all its arguments by name, except those that its configuration gives.
        configs: its configurations: the default from Hopper on first, that before Hopper last.
        odd: the default if its sizes are odd; ``None`` if they are not.
    """

    kernel: Any
    arguments: Mapping[str, Any]
    configs: tuple[triton.Config, ...]
    odd: triton.Config | None = None

    def default(self, capability: int) -> triton.Config:
        """Return the default configuration for a compute capability, 90 for sm_90."""
        if self.odd is not None:
            return self.odd
        return self.configs[0 if capability >= HOPPER else -1]


_tuned: list[Any] = []
_recording: ContextVar[list[Launch] | None] = ContextVar("recording", default=None)


@contextlib.contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Record launches and run none, so that operators return memory that nobody wrote."""
    launches: list[Launch] = []
    token = _recording.set(launches)
    try:
        yield launches
    finally:
        _recording.reset(token)


def launch(kernel: Any, grid: Grid, *args: Any, **constants: Any) -> None:
    """Launch a kernel, or record that.

    Args:
        kernel: the kernel, tuned or not.
        grid: the number of programs along each axis, or a function of the tile sizes.
        *args: the arguments, the first a tensor on the device to run on.
        **constants: the arguments that are compiled into the kernel.
    """
    launches = _recording.get()
    if launches is not None:
        launches.append(_launch_of(kernel, args, constants))
        return
    runner = kernel if INTERPRETED else wrap_triton(kernel)
    with _device_of(args[0]):
        runner[grid](*args, **constants)


def _launch_of(kernel: Any, args: tuple[Any, ...], constants: dict[str, Any]) -> Launch:
    configs = tuple(getattr(kernel, "configs", ()))
    inner = kernel.fn if configs else kernel
    arguments = {**dict(zip(inner.arg_names, args, strict=False)), **constants}
    options = {name: arguments.pop(name) for name in ("num_warps",) if name in arguments}
    sizes = [arguments[name] for name in getattr(kernel, "keys", ())]
    odd = any(isinstance(size, int) and size % ALIGNMENT for size in sizes)
    return Launch(
        inner,
        arguments,
        configs or (triton.Config({}, num_stages=2, **options),),
        kernel.odd if odd else None,
    )


def _device_of(tensor: torch.Tensor) -> contextlib.AbstractContextManager[Any]:
    # Triton launches on the current device. A traced tensor has no device to change to.
    if type(tensor) is torch.Tensor and tensor.is_cuda:
        return torch.cuda.device(tensor.device)
    return contextlib.nullcontext()


def configurations_of(step: Callable[[], object]) -> dict[str, dict[str, Any]]:
    """Run a step, and return the configuration that each tuned kernel had in it, by name."""
    for kernel in _tuned:
        kernel.best_config = None
    step()
    return {
        kernel.base_fn.__name__: kernel.best_config.all_kwargs()
        for kernel in _tuned
        if kernel.best_config is not None
    }
