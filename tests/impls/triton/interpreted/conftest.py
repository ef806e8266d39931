"""What every test in the interpreter shares."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(1)


@pytest.fixture(autouse=True, scope="session")
def _patched_once():
    """Let the functions that a kernel calls patch Triton's language once for each module.

    The interpreter patches all of it at each call of each of them, ``tl.sum`` among them, and never
    undoes that, which takes almost half of its time. A launch still patches what its kernel sees.
    """
    from triton.runtime import interpreter

    patched = set()

    def call(function, *args, **kwargs):
        module = function.fn.__module__
        if module not in patched:
            patched.add(module)
            interpreter._patch_lang(function.fn)
        return function.rewrite()(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter.InterpretedFunction, "__call__", call)
        yield
