"""Code that torch traces: whether it is exported, and how an exported program is saved."""

import functools
from typing import Any

import torch
from torch.utils._pytree import _register_namedtuple


def is_exporting() -> bool:
    """Return whether torch.export traces the call.

    An exported program must take batches of any size, on machines of any kind.
    """
    # In code that torch 2.11 compiles, is_exporting() is always true. It returns this flag.
    return torch.compiler._is_exporting_flag


@functools.cache
def let_save_exported(output: type[tuple[Any, ...]]) -> None:
    """Let torch.export.save take programs that return a named tuple of this class.

    torch has a public function for dataclasses alone.
    """
    name = f"{output.__module__}.{output.__qualname__}"
    _register_namedtuple(output, serialized_type_name=name)
