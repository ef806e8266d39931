"""The precision of products in this process, which changes times and errors on a GPU."""

from collections.abc import Callable, Mapping
from operator import attrgetter

import torch
from torch import backends


def _read(owner: object, name: str) -> Callable[[], object]:
    """Return a reader of an attribute that torch's type stubs do not declare."""
    return lambda: attrgetter(name)(owner)


def _named(read: Callable[[], object]) -> Callable[[], object]:
    """Return a reader of a precision; torch's ``none`` means that it is the full one."""
    return lambda: "ieee" if read() == "none" else read()


CUDA_PRODUCTS = _read(backends.cuda.matmul, "fp32_precision")
ONEDNN_PRODUCTS = _read(backends.mkldnn, "matmul.fp32_precision")

PRECISION: Mapping[str, Callable[[], object]] = {
    "the precision of float32 products": torch.get_float32_matmul_precision,
    "TF32 in products": lambda: backends.cuda.matmul.allow_tf32,
    "TF32 in cuDNN": lambda: backends.cudnn.allow_tf32,
    "the precision of all backends": _read(backends, "fp32_precision"),
    "the precision of CUDA's products": _named(CUDA_PRODUCTS),
    "the precision of oneDNN's products": _named(ONEDNN_PRODUCTS),
    "float16 sums in products": lambda: backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
    "bfloat16 sums in products": lambda: (
        backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    ),
    "float16 accumulation in products": lambda: backends.cuda.matmul.allow_fp16_accumulation,
}
"""The functions that read each setting, by its name in a reason."""


def current_precision() -> dict[str, str]:
    """Return every setting of precision as text, by its name; ``unknown`` if it cannot be read."""
    return {name: _text(read) for name, read in PRECISION.items()}


def _text(read: Callable[[], object]) -> str:
    try:
        return str(read())
    except RuntimeError:
        # torch refuses to read the old setting of TF32 where the new one was used.
        return "unknown"
