"""What the compiler made of a kernel; read without Triton, as records are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CompiledKernel:
    """What the compiler made of a kernel.

    Attributes:
        name: the name of the kernel.
        configuration: the tile sizes and the number of warps, as text.
        capability: the compute capability that it was compiled for, 90 for sm_90.
        registers: the number of registers of a thread.
        stack_bytes: the bytes of a thread that are in memory for want of registers.
        shared_bytes: the bytes of shared memory of a program.
        matrix_instructions: the number of instructions in its code that multiply matrices.
    """

    name: str
    configuration: str
    capability: int
    registers: int
    stack_bytes: int
    shared_bytes: int
    matrix_instructions: int
