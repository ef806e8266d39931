"""What is asked: a Loss at one size on one device."""

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
DATA_KINDS = ("gaussian", "clustered", "digits")
# The largest of the integers that torch and the frame count with.
LARGEST_SIZE = 2**63 - 1
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

    Reading asks nothing of the registry, so that what was measured of a Loss stays readable when
    the Loss is gone; ``checked`` does, before anything is measured.

    Raises:
        UsageError: where no inputs of that size can be made, or autocast does not lower to the
            dtype.
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
            if getattr(self, name) > LARGEST_SIZE:
                raise UsageError(f"{name} must be below 2**63, got {getattr(self, name)}")
        if self.autocast and self.dtype not in AUTOCAST_DTYPES:
            raise UsageError(
                f"autocast lowers to {' or '.join(AUTOCAST_DTYPES)}, got dtype {self.dtype}"
            )
        if self.data == "digits":
            self._check_digits()

    def checked(self) -> Self:
        """Return it, where the registry has its Loss and that takes such sizes.

        Raises:
            UsageError: where there is no such Loss, or it takes no such sizes.
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
        return self

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
