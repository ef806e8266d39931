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

    patch_tensor, patched = interpreter._patch_lang_tensor, set()

    def patch_scalars(tensor, scope):
        """Let an array of one element be a number, which NumPy from 2.4 on refuses Triton 3.6."""
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.squeeze()))

    def call(function, *args, **kwargs):
        module = function.fn.__module__
        if module not in patched:
            patched.add(module)
            interpreter._patch_lang(function.fn)
        return function.rewrite()(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter.InterpretedFunction, "__call__", call)
        patch.setattr(interpreter, "_patch_lang_tensor", patch_scalars)
        yield
