"""What is asked: a Loss at one size on one device, and the named sets of such Cases."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from lossbench import impls
from lossbench.bench.errors import UsageError

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
AUTOCAST_DTYPES = ("bfloat16", "float16")
DATA_KINDS = ("gaussian", "clustered", "digits")
DIGITS_DIM, DIGITS_CLASSES, DIGITS_BATCH = 64, 10, 1740


@dataclass(frozen=True)
class Case:
    """A Loss at one size on one device.

    Attributes:
        loss: its name.
        batch: B, samples; M and N of a distance block.
        dim: D.
        classes: C, of the parameters where the Loss has them, and of the labels.
        dtype: of inputs and parameters; under autocast, what it lowers the forward to.
        device: ``cpu`` or ``cuda``.
        data: how the inputs are made.
        seed: of the inputs and the initial state.
        autocast: whether inputs and parameters are float32, and the forward runs under
            ``torch.autocast`` to the dtype.

    Raises:
        UsageError: where no inputs of that size can be made, the Loss takes none such, or autocast
            does not lower to the dtype.
    """

    loss: str
    batch: int
    dim: int
    classes: int
    dtype: str = "float32"
    device: str = "cpu"
    data: str = "gaussian"
    seed: int = 0
    autocast: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        for name in ("batch", "dim", "classes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.autocast and self.dtype not in AUTOCAST_DTYPES:
            raise UsageError(
                f"autocast lowers to {' or '.join(AUTOCAST_DTYPES)}, got dtype {self.dtype}"
            )
        if self.data == "digits":
            self._check_digits()
        if impls.loss(self.loss).needs_negatives and min(self.batch, self.classes) < 2:
            raise UsageError(
                f"{self.loss} needs negatives: batch and classes of 2 or more, "
                f"got batch {self.batch} and classes {self.classes}"
            )

    def _check_digits(self) -> None:
        if self.dim != DIGITS_DIM or self.classes > DIGITS_CLASSES or self.batch > DIGITS_BATCH:
            raise UsageError(
                f"digits has dim {DIGITS_DIM}, up to {DIGITS_CLASSES} classes and batches of up to "
                f"{DIGITS_BATCH}, got dim {self.dim}, {self.classes} classes, batch {self.batch}"
            )

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch names it."""
        return DTYPES[self.dtype]

    @property
    def held_dtype(self) -> torch.dtype:
        """The dtype that inputs and parameters are held in: under autocast float32."""
        return torch.float32 if self.autocast else self.torch_dtype

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments its implementations are built with: the document's, at this size."""
        sizes = {"num_classes": self.classes, "embedding_dim": self.dim, "batch_size": self.batch}
        return {name: sizes[name] for name in impls.loss(self.loss).arguments if name in sizes}

    def __str__(self) -> str:
        """Return the sizes in words, ``64x128, C=10, bfloat16 autocast, cpu, gaussian``."""
        dtype = "" if self.dtype == "float32" else f"{self.dtype}{' autocast' * self.autocast}, "
        return f"{self.batch}x{self.dim}, C={self.classes}, {dtype}{self.device}, {self.data}"


@dataclass(frozen=True)
class Sizes:
    """A grid of sizes: every combination of its values is a Case.

    Attributes:
        losses: names; empty means every Loss.
        batch: values of B.
        dim: values of D.
        classes: values of C.
        dtype: names of dtypes.
        data: kinds of data.
        compiled: whether ``+compile`` variants are measured too, at some seconds each.
        autocast: whether the forward runs under autocast to the dtypes.
    """

    losses: tuple[str, ...] = ()
    batch: tuple[int, ...] = (64,)
    dim: tuple[int, ...] = (128,)
    classes: tuple[int, ...] = (10,)
    dtype: tuple[str, ...] = ("float32",)
    data: tuple[str, ...] = ("gaussian",)
    compiled: bool = False
    autocast: bool = False

    def cases(self, device: str) -> Iterator[Case]:
        """Yield the Cases of one device, Loss by Loss."""
        names = self.losses or tuple(loss.name for loss in impls.losses())
        axes = (self.dtype, self.data, self.dim, self.classes, self.batch)
        for name, combination in itertools.product(names, itertools.product(*axes)):
            dtype, data, dim, classes, batch = combination
            yield Case(name, batch, dim, classes, dtype, device, data, autocast=self.autocast)


@dataclass(frozen=True)
class Preset:
    """A named set of grids, and how long to measure.

    Attributes:
        summary: what it is for, in a line.
        grids: its sizes.
        budget_seconds: how long the times of one Case may be sampled.
        processes: how many fresh processes sample each Case; 1 stands for the one that judged.
    """

    summary: str
    grids: tuple[Sizes, ...]
    budget_seconds: float
    processes: int = 1


LOGIT_LOSSES = tuple(
    loss.name for loss in impls.losses() if "logits" in getattr(loss.output, "_fields", ())
)

FAMILIES = ("softmax", "arcface", "center", "triplet_weighted", "contrastive")

HEADS = ("normface", "sphereface", "arcface", "arcface_guarded")

PRESETS = {
    "quick": Preset(
        "every loss on real digits, in under two minutes",
        (Sizes(batch=(64, 256), dim=(DIGITS_DIM,), data=("digits",)),),
        budget_seconds=0.4,
    ),
    "ci": Preset(
        "every loss at one small size, to see that all of it runs",
        (Sizes(batch=(32,), dim=(16,)),),
        budget_seconds=0.1,
    ),
    "large": Preset(
        "the sizes at which the variants differ most, compiled ones too",
        (
            Sizes(("triplet_batch_hard",), (1024,), (512,), (256,), compiled=True),
            Sizes(("triplet_weighted_unshifted",), (1024,), (128,), (256,), compiled=True),
            Sizes(("triplet_weighted_unshifted",), (4096,), (128,), (1024,)),
            Sizes(("arcface", "arcface_guarded"), (256,), (512,), (10_000,), compiled=True),
            Sizes(HEADS, (256,), (128,), (100_000,), compiled=True),
            Sizes(("island",), (128,), (512,), (10_000,), compiled=True),
            Sizes(("center_all_pairs",), (256,), (512,), (1000,), compiled=True),
            Sizes(("center_mse", "center"), (256,), (512,), (100_000,)),
        ),
        budget_seconds=10.0,
    ),
    "full": Preset(
        "every loss over batch and dim, a loss of each family over dtype and data",
        (
            Sizes(batch=(256,), classes=(1000,), compiled=True),
            Sizes(batch=(64, 1024), classes=(1000,)),
            Sizes(batch=(256,), dim=(512,)),
            Sizes(LOGIT_LOSSES, batch=(256,), classes=(10_000,)),
            Sizes(("softmax", "arcface"), batch=(256,), classes=(100_000,)),
            Sizes(FAMILIES, dim=(DIGITS_DIM,), data=("digits",)),
            Sizes(FAMILIES, batch=(256,), data=("clustered",)),
            Sizes(FAMILIES, dtype=("float64", "bfloat16", "float16")),
            Sizes(FAMILIES, dtype=AUTOCAST_DTYPES, autocast=True),
        ),
        budget_seconds=2.0,
        processes=3,
    ),
}
