"""Load the native operators, and say what shapes they return.

Nothing is built or loaded at import. A native module loads the library when it is made: traced code
cannot.
"""

from typing import Any

import torch
from torch import nn

from lossbench.impls.native.build import library
from lossbench.impls.native.shapes import FAKES

NAMESPACE = "lossbench_native"
_loaded = False


def load() -> None:
    """Load the library, built if need be, and register what tracing needs.

    Raises:
        NativeBuildError: if it cannot be built.
    """
    global _loaded
    if _loaded:
        return
    torch.ops.load_library(str(library()))  # type: ignore[no-untyped-call]
    for name, shapes in FAKES.items():
        torch.library.register_fake(f"{NAMESPACE}::{name}", shapes)
    _loaded = True


class Native(nn.Module):
    """A base class of modules that call native operators: it loads them."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Native":
        """Load the operators; a copy and an unpickled module come here too."""
        load()
        return super().__new__(cls)
