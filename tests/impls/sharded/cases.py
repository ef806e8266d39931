"""What is asked of the sharded losses on 1, 2, 3 and 4 processes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lossbench import impls

WORLDS = (1, 2, 3, 4)
# The processes have batches of these sizes, in order.
SIZES = (3, 1, 5, 2)
DIM, CLASSES = 6, 7
CENTERS = (
    *("center", "center_all_pairs", "center_mse"),
    *("softmax_center", "softmax_center_unsquared", "island"),
)
HEADS = ("softmax", "modified_softmax", "normface", "sphereface", "arcface", "arcface_guarded")
COSINES = ("normface", "arcface", "arcface_guarded")
TRIPLETS = ("triplet_batch_hard", "triplet_weighted_unshifted", "triplet_weighted")
PAIRS = ("contrastive", "contrastive_whole_batch")
LOSSES = (*HEADS, *CENTERS, *TRIPLETS, *PAIRS)
NATIVE_LOSSES = tuple(loss for loss in LOSSES if loss != "center_all_pairs")
OF_KERNELS = (
    "plain",
    "large inputs",
    "in float32",
    "a shard without classes",
    "targets in the first shard only",
    "smoothing, class weights, an ignored label",
    "logits times 1000",
    "centres with a rate",
)


@dataclass(frozen=True)
class ShardCase:
    """One loss on inputs that are the same for every number of processes.

    Attributes:
        loss: the name of the loss.
        title: what is particular about the case.
        arguments: the arguments and options beside the sizes.
        sizes: the number of samples of each process, for four processes.
        labels: the labels of the samples, over and over; empty for drawn ones.
        num_classes: the number of classes.
        magnitude: the factor of the embeddings.
        factor: the upstream gradient.
        first: the sizes of a batch that the module computes before; empty for none.
        dtype: the dtype of inputs and parameters.
        variant: the variant that is compared with the reference.
    """

    loss: str
    title: str = "plain"
    arguments: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] = SIZES
    labels: tuple[int, ...] = ()
    num_classes: int = CLASSES
    magnitude: float = 1
    factor: float = 1
    first: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float64
    variant: str = "sharded"

    def __str__(self) -> str:
        """Return the loss, the title, and the variant if it is another than ``sharded``."""
        kernels = self.variant.removeprefix("sharded").replace("_", " by ")
        return f"{self.loss}{kernels}: {self.title}"

    @property
    def worlds(self) -> tuple[int, ...]:
        """The numbers of processes that it is asked of: all for the plain case, else 2 and 4."""
        if self.title == "plain":
            return WORLDS
        return WORLDS[1::2] if self.variant == "sharded" else (3,)

    @property
    def built_with(self) -> dict[str, Any]:
        """The arguments of ``build``."""
        sizes = {"num_classes": self.num_classes, "embedding_dim": DIM}
        return {**(sizes if impls.loss(self.loss).has_classes else {}), **self.arguments}

    def build(self, variant: str) -> torch.nn.Module:
        """Return the module in float64, in the same state in every process."""
        torch.manual_seed(5)
        return impls.implementation(self.loss, variant).build(**self.built_with).double()

    def batch(self, sizes: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the joined inputs of processes with batches of these sizes."""
        samples = sum(sizes)
        generator = torch.Generator().manual_seed(7)
        draw = {"generator": generator, "dtype": torch.float64}
        if self.loss in PAIRS:
            x0, gap = torch.randn(samples, DIM, **draw), torch.randn(samples, DIM, **draw)
            same = torch.randint(0, 2, (samples,), generator=generator)
            return x0, x0 + 0.2 * self.magnitude * gap, same
        labels = torch.randint(0, self.num_classes, (samples,), generator=generator)
        if self.labels:
            labels = torch.tensor(self.labels).repeat(samples)[:samples]
        if self.loss in TRIPLETS:
            labels = torch.arange(samples) % 2 if samples < 4 else labels % 3
        return self.magnitude * torch.randn(samples, DIM, **draw), labels


def _others(loss: str) -> list[ShardCase]:
    """Return the cases of every loss beside the plain one."""
    return [
        ShardCase(loss, "another upstream factor", factor=-2.5),
        ShardCase(loss, "even batches", sizes=(2, 2, 2, 2)),
        # The reference overflows in its soft margin.
        ShardCase(loss, "large inputs", magnitude=30 if loss == TRIPLETS[1] else 1000),
        ShardCase(loss, "after a smaller batch", first=(2, 1, 1, 1)),
        ShardCase(loss, "in float32", dtype=torch.float32),
    ]


def _of_classes(loss: str) -> list[ShardCase]:
    return [
        ShardCase(loss, "targets in the first shard only", labels=(1, 0, 1)),
        ShardCase(loss, "a shard without classes", num_classes=5, labels=(4, 0, 2)),
    ]


def _of_head(loss: str) -> list[ShardCase]:
    weights = {"class_weights": [0.5, 2.0, 0.0, 1.0, 3.0, 1.5, 0.25]}
    smooth = {"label_smoothing": 0.2}
    ignored = {"ignore_index": 3}
    large = {"scale": 16000.0} if loss in COSINES else {}
    return [
        ShardCase(loss, "label smoothing", smooth),
        ShardCase(
            loss, "smoothing, class weights, an ignored label", {**smooth, **weights, **ignored}
        ),
        ShardCase(loss, "summed, class weights", {**weights, "reduction": "sum"}),
        ShardCase(loss, "loss of each sample", {**smooth, "reduction": "none"}),
        *([ShardCase(loss, "logits times 1000", large)] if large else []),
        *([ShardCase(loss, "a focal factor", {"gamma": 2.0})] if loss == "sphereface" else []),
    ]


def _by_native(cases: Sequence[ShardCase]) -> list[ShardCase]:
    """Return the cases that depend on the kernels, for the native ones."""
    return [
        replace(case, variant="sharded_native")
        for case in cases
        if case.loss in NATIVE_LOSSES and case.title in OF_KERNELS
    ]


_CASES = [
    *(ShardCase(loss) for loss in LOSSES),
    *(case for loss in LOSSES for case in _others(loss)),
    *(case for loss in (*HEADS, *CENTERS) for case in _of_classes(loss)),
    *(case for loss in HEADS for case in _of_head(loss)),
    *(
        ShardCase(loss, "centres with a rate", {"center_rate": 0.5}, first=(2, 1, 1, 1))
        for loss in ("center", "softmax_center")
    ),
    *(ShardCase(loss, "near pairs", magnitude=0.1) for loss in PAIRS),
    *(ShardCase(loss, "unit rows", {"normalize": True}) for loss in TRIPLETS[1:]),
]
CASES = [*_CASES, *_by_native(_CASES)]
