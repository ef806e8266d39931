"""The precision of the kernels' products, which Triton would otherwise choose in silence."""

import torch

# torch.get_float32_matmul_precision() by what the kernels take for products of float32.
OF_TORCH = {"highest": "tf32x3", "high": "tf32", "medium": "tf32"}
MINING_OF_TORCH = {"highest": "tf32x3", "high": "tf32", "medium": "bf16"}

# The largest relative error of a rounded factor.
ROUNDING = {"ieee": 2**-24, "tf32x3": 2**-21, "tf32": 2**-10, "bf16": 2**-8}
# A squared distance by products is rounding alone below this share of the two squared lengths.
NOISE = {"ieee": 2**-22, "tf32x3": 2**-21, "tf32": 2**-10}


def product_precision(dtype: torch.dtype) -> str:
    """Return the ``input_precision`` of products of a dtype.

    float32 follows ``torch.set_float32_matmul_precision``. By default three TF32 products stand for
    one of float32, with errors as small as float32's; ``high`` and ``medium`` take a single one.
    Products of half precision are exact, and added in float32.
    """
    return OF_TORCH[torch.get_float32_matmul_precision()] if dtype == torch.float32 else "ieee"


def mining_precision(dtype: torch.dtype) -> str:
    """Return the precision of products that only choose partners.

    As ``product_precision``, but ``medium`` rounds the embeddings to bfloat16. The distances to the
    chosen partners are always computed again, from differences in float32.
    """
    chosen = MINING_OF_TORCH[torch.get_float32_matmul_precision()]
    return chosen if dtype == torch.float32 else "ieee"


def near_tie(precision: str, longest: float, dim: int) -> float:
    """Return how far a mined squared distance may be from the true extreme.

    Each of the two scores compared is in error by at most ``2 u`` times a product of two lengths,
    ``u`` being the rounding of a factor, beside float32's rounding of a sum of ``dim`` terms. A
    squared distance is twice a score.

    Args:
        precision: the precision of the products.
        longest: the length of the longest embedding.
        dim: the number of features, D.
    """
    unit = ROUNDING[precision] + dim * 2**-24
    return 8 * unit * longest**2
