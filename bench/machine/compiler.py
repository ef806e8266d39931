"""Import torch's compiler at a known moment, and time the import."""

import time
from functools import cache


@cache
def import_dynamo() -> float:
    """Import the part of the compiler that reads Python code, and return the seconds.

    It is imported before any contender is asked, because it replaces functions of torch.
    """
    start = time.perf_counter()
    import torch._dynamo  # noqa: F401

    return time.perf_counter() - start
