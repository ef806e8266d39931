"""Compile recorded launches for a chip without having it, and read what the compiler made."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lossbench.impls.triton.kernels.launching import ALIGNMENT, Launch
from lossbench.impls.triton.usage import CompiledKernel

# The bytes of shared memory that a program may use, by compute capability.
SHARED_BYTES: Mapping[int, int] = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
# Of a warp group (Hopper), of the tensor memory (Blackwell), and of a warp.
MATRIX_INSTRUCTIONS = r"wgmma\.mma_async|tcgen05\.mma|mma\.sync"
POINTERS = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.bool: "*i1",
}


def compile_ahead(
    launch: Launch, capability: int, config: triton.Config | None = None
) -> CompiledKernel:
    """Compile a launch for a compute capability.

    Args:
        launch: the launch.
        capability: the compute capability.
        config: one of the launch's configurations; ``None`` for the default.
    """
    config = config or launch.default(capability)
    options = {
        "num_warps": config.num_warps,
        "num_stages": config.num_stages,
        "enable_fp_fusion": True,
    }
    source = source_of(launch, config.kwargs)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    usage = _resource_usage(made.asm["cubin"])
    blocks = ", ".join(f"{name[-1]}={size}" for name, size in config.kwargs.items())
    return CompiledKernel(
        launch.kernel.__name__,
        f"{blocks}{', ' if blocks else ''}{config.num_warps} warps",
        capability,
        usage["REG"],
        usage["STACK"],
        made.metadata.shared,
        len(re.findall(MATRIX_INSTRUCTIONS, made.asm["ptx"])),
    )


def source_of(launch: Launch, blocks: Mapping[str, int]) -> ASTSource:
    """Return a launch's kernel with the types and the alignment of its arguments."""
    signature, constants, attributes = {}, {}, {}
    given = {**launch.arguments, **blocks}
    for index, parameter in enumerate(launch.kernel.params):
        value = given[parameter.name]
        kind = "constexpr" if parameter.is_constexpr else _kind(value)
        signature[parameter.name] = kind
        if kind == "constexpr":
            constants[parameter.name] = value
        elif kind.startswith("*") or (kind.startswith("i") and value % ALIGNMENT == 0):
            attributes[(index,)] = [["tt.divisibility", ALIGNMENT]]
    return ASTSource(launch.kernel, signature, constants, attributes)


def _kind(value: Any) -> str:
    """Return the type of an argument in a signature, as Triton specialises it at a launch."""
    if value is None or (isinstance(value, int) and value == 1):
        return "constexpr"
    if isinstance(value, torch.Tensor):
        return POINTERS[value.dtype]
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    return "fp32"


def _resource_usage(cubin: bytes) -> dict[str, int]:
    tool = triton.knobs.nvidia.cuobjdump.path
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        done = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True, timeout=60
        )
    found = re.findall(r"([A-Z]+):(\d+)", done.stdout)
    return {name: int(number) for name, number in found}
