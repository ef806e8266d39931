"""Define a Case, the unit of measurement: a Loss at one size on one device."""

from dataclasses import dataclass
from typing import Any, Self

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
SIZE_AXES = ("batch", "dim", "classes")
DATA_KINDS = ("gaussian", "clustered", "digits")
# The largest of the integers that torch and the frame count with.
LARGEST_SIZE = 2**63 - 1
# The shortened batch of a comparison still has a sample for each rank.
LEAST_SAMPLES_A_RANK = 4
DIGITS_DIM, DIGITS_CLASSES, DIGITS_BATCH = 64, 10, 1740


@dataclass(frozen=True)
class Case:
    """A Loss at one size on one device.

    Attributes:
        loss: name of the Loss.
        batch: number of samples B; for a distance block both numbers of rows, M and N.
        dim: embedding dimension D.
        classes: number of classes C, of the labels and of the parameters if the Loss has any.
        dtype: name of the dtype of inputs and parameters; under autocast, the dtype of the forward.
        device: ``cpu`` or ``cuda``.
        data: kind of the inputs, a name in ``DATA_KINDS``.
        seed: random seed of the inputs and the initial state.
        autocast: whether inputs and parameters are float32, and the forward runs under
            ``torch.autocast`` to the dtype.
        ranks: number of processes that share the batch, each with an equal part of it; 1 for a
            measurement in one process.

    Reading a Case does not need the registry, so records of a Loss stay readable when the Loss is
    gone. ``checked`` checks a Case against the registry before it is measured.

    Raises:
        UsageError: if inputs of this size cannot be made, or autocast does not support the dtype.
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
    ranks: int = 1

    def __post_init__(self) -> None:
        """Check the sizes and the dtype."""
        for name in (*SIZE_AXES, "ranks"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
            if getattr(self, name) > LARGEST_SIZE:
                raise UsageError(f"{name} must be below 2**63, got {getattr(self, name)}")
        if self.autocast and self.dtype not in AUTOCAST_DTYPES:
            raise UsageError(
                f"autocast takes dtype {' or '.join(AUTOCAST_DTYPES)}, got {self.dtype}"
            )
        if self.data == "digits":
            self._check_digits()

    def checked(self) -> Self:
        """Return the Case itself, after checking it against the registry.

        Raises:
            UsageError: if the registry has no such Loss, or the Loss does not accept the sizes.
        """
        try:
            loss = impls.loss(self.loss)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if loss.needs_negatives and min(self.batch, self.classes) < 2:
            raise UsageError(
                f"{self.loss} needs negatives: batch and classes of 2 or more, "
                f"got batch {self.batch} and classes {self.classes}"
            )
        if self.ranks > 1:
            self._check_ranks()
        return self

    def _check_digits(self) -> None:
        if self.dim != DIGITS_DIM or self.classes > DIGITS_CLASSES or self.batch > DIGITS_BATCH:
            raise UsageError(
                f"digits has dim {DIGITS_DIM}, up to {DIGITS_CLASSES} classes and batches of up to "
                f"{DIGITS_BATCH}, got dim {self.dim}, {self.classes} classes, batch {self.batch}"
            )

    def _check_ranks(self) -> None:
        if self.batch % self.ranks or self.batch < self.ranks * LEAST_SAMPLES_A_RANK:
            raise UsageError(
                f"{self.ranks} ranks take a batch that is a multiple of {self.ranks} and has "
                f"{LEAST_SAMPLES_A_RANK} samples a rank or more, got batch {self.batch}"
            )

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as an object of torch."""
        return DTYPES[self.dtype]

    @property
    def held_dtype(self) -> torch.dtype:
        """The dtype of inputs and parameters: float32 under autocast, otherwise the Case's."""
        return torch.float32 if self.autocast else self.torch_dtype

    @property
    def precision(self) -> str:
        """The dtype in words, with ``autocast`` if that lowers it."""
        return f"{self.dtype}{' autocast' * self.autocast}"

    @property
    def arguments(self) -> dict[str, Any]:
        """The sizes among the Loss's arguments; all other arguments keep their defaults."""
        sizes = {"num_classes": self.classes, "embedding_dim": self.dim, "batch_size": self.batch}
        return {name: sizes[name] for name in impls.loss(self.loss).arguments if name in sizes}

    def __str__(self) -> str:
        """Return the sizes as text: ``64x128, C=10, bfloat16 autocast, cpu, gaussian, 2 ranks``."""
        dtype = "" if self.dtype == "float32" else f"{self.precision}, "
        ranks = f", {self.ranks} ranks" if self.ranks > 1 else ""
        sizes = f"{self.batch}x{self.dim}, C={self.classes}"
        return f"{sizes}, {dtype}{self.device}, {self.data}{ranks}"
