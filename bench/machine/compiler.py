"""Start torch's compiler at a known moment, since it changes the process when it starts."""

import time
from functools import cache

import torch

from lossbench.bench.machine.guards import GUARD


@cache
def import_dynamo() -> float:
    """Import the part of the compiler that reads Python code, and return the seconds.

    It is imported before any contender is asked, because it replaces functions of torch.
    """
    start = time.perf_counter()
    import torch._dynamo  # noqa: F401

    return time.perf_counter() - start


@cache
def import_inductor() -> float:
    """Import the part of the compiler that makes code, and return the seconds."""
    start = time.perf_counter()
    import torch._inductor.compile_fx  # noqa: F401

    return time.perf_counter() - start


@cache
def start_compiler() -> None:
    """Compile a tiny function, because the first compilation changes the state of the process.

    torch 2.11 sets an environment variable and replaces functions of ``nn.Module``. With a GPU, the
    first code for it imports Triton, and may set the variable that names an assembler.
    """
    with GUARD.own_changes():
        twice = torch.compile(lambda x: 2 * x)
        twice(torch.ones(2))
        if torch.cuda.is_available():
            twice(torch.ones(2, device="cuda"))
