"""The losses, variants and sizes that asv measures.

The lists are written out, and not derived from the registry. asv identifies a parameter by its
index in the list, so at a commit with other variants, or on a machine without CUDA, a derived list
would store the figure of one variant under the name of another. What a commit or a machine lacks is
skipped. ``tests/bench/suites/test_asv.py`` compares the lists with the registry.
"""

from collections.abc import Mapping
from types import MappingProxyType

ASV_DEVICES = ("cpu", "cuda")
ASV_DTYPES = ("float32",)
ASV_BATCHES = (64, 256)
ASV_DIMS = (128,)
ASV_CLASSES = (1000,)

EAGER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "softmax": (
            "reference",
            "cce",
            "cce_filtered",
            "fused",
            "liger",
            "liger_hopper",
            "loss_parallel",
            "megatron",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "torch",
            "torch_chunked",
            "triton",
            "vectorized",
        ),
        "modified_softmax": (
            "reference",
            "fused",
            "native",
            "pml",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "normface": (
            "reference",
            "fused",
            "native",
            "pml",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "sphereface": (
            "reference",
            "fused",
            "native",
            "pml",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "arcface": (
            "reference",
            "fused",
            "native",
            "pml",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "arcface_guarded": (
            "reference",
            "fused",
            "native",
            "pml",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "softmax_center_unsquared": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "softmax_center": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "center_all_pairs": ("reference", "fused", "native", "sharded", "triton", "vectorized"),
        "center": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "sparse",
            "triton",
            "triton_sparse",
            "vectorized",
        ),
        "center_mse": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "sparse",
            "torch",
            "triton",
            "triton_sparse",
            "vectorized",
        ),
        "island": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "triplet_batch_hard": (
            "reference",
            "fused",
            "native",
            "otl",
            "pml",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "torch",
            "triton",
            "vectorized",
        ),
        "triplet_weighted_unshifted": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "triplet_weighted": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "contrastive_whole_batch": (
            "reference",
            "fused",
            "native",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "triton",
            "vectorized",
        ),
        "contrastive": (
            "reference",
            "fused",
            "native",
            "pml",
            "sharded",
            "sharded_native",
            "sharded_triton",
            "torch",
            "triton",
            "vectorized",
        ),
        "pairwise_distance": ("reference", "fused", "native", "torch", "triton", "vectorized"),
        "pairwise_squared_distance": ("reference", "fused", "native", "triton", "vectorized"),
        "vector_distance": ("reference", "fused", "native", "torch", "triton", "vectorized"),
    }
)
"""The variants of a Loss that are not compiled."""

COMPILED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "softmax": ("torch", "vectorized", "fused"),
        "modified_softmax": ("vectorized", "fused"),
        "normface": ("vectorized", "fused"),
        "sphereface": ("vectorized", "fused"),
        "arcface": ("vectorized", "fused"),
        "arcface_guarded": ("vectorized", "fused"),
        "softmax_center_unsquared": ("vectorized", "fused"),
        "softmax_center": ("vectorized", "fused"),
        "center_all_pairs": ("vectorized",),
        "center": ("fused", "vectorized"),
        "center_mse": ("fused", "torch", "vectorized"),
        "island": ("fused", "vectorized"),
        "triplet_batch_hard": ("fused", "torch", "vectorized"),
        "triplet_weighted_unshifted": ("fused", "vectorized"),
        "triplet_weighted": ("fused", "vectorized"),
        "contrastive_whole_batch": ("fused", "vectorized"),
        "contrastive": ("fused", "torch", "vectorized"),
        "pairwise_distance": ("fused", "torch", "vectorized"),
        "pairwise_squared_distance": ("fused", "vectorized"),
        "vector_distance": ("fused", "torch", "vectorized"),
    }
)
"""The variants of a Loss that are compiled, in each of ``MODES``."""

MODES = ("+compile", "+compile[max-autotune]", "+compile[reduce-overhead]")

COMPILED_BATCHES = (256,)

COMPILED_BY_DEFAULT = frozenset(
    {
        ("arcface", "vectorized+compile"),
        ("triplet_batch_hard", "vectorized+compile"),
    }
)
"""The compiled variants measured by default: of a loss over classes, and of one over pairs."""

RETIRED: frozenset[tuple[str, str]] = frozenset()
"""Losses and variants that only older commits have, listed to keep their history in asv."""
