"""Start torch's compiler before the guard looks, since it changes the process when it starts."""

import time
from functools import cache

import torch

from lossbench.bench.machine.guards import GUARD


@cache
def start_compiler() -> float:
    """Compile a tiny module, and return the seconds: the compiler imports and probes first.

    torch 2.11 also sets an environment variable and replaces functions of ``nn.Module``.
    """
    with GUARD.own_changes():
        start = time.perf_counter()
        twice = torch.compile(lambda x: 2 * x)
        twice(torch.ones(2))
        return time.perf_counter() - start
