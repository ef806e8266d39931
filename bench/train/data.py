"""Load the training and test images: scikit-learn's digits, or MNIST from a folder."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lossbench.bench.errors import UsageError
from lossbench.bench.machine.libraries import import_sklearn
from lossbench.bench.train.idx import read_idx

DIGITS = "digits"
IMAGE_CLASSES = 10
TEST_SHARE = 0.25
# The split has its own seed, so that trainings of all seeds are tested on the same images.
SPLIT_SEED = 0
PARTS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        images: pixels, ``[N, 1, H, W]`` in float32, standardised over all training images.
        labels: digits that the images show, ``[N]``.
    """

    images: Tensor
    labels: Tensor

    def to(self, device: str) -> "Split":
        """Return a copy on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Images to train on, and images to test on."""

    train: Split
    test: Split

    @property
    def side(self) -> int:
        """Width and height of an image, in pixels."""
        return self.train.images.size(-1)


@lru_cache(maxsize=1)
def load_images(source: str, device: str) -> Dataset:
    """Return a dataset on a device, read once per process.

    Args:
        source: ``digits``, or the folder with MNIST's files.
        device: ``cpu`` or ``cuda``.

    Raises:
        UsageError: if a file of MNIST is missing or damaged.
    """
    train, test = _digits() if source == DIGITS else _mnist(Path(source))
    mean, spread = train.images.mean(), train.images.std()
    return Dataset(
        *(Split((part.images - mean) / spread, part.labels).to(device) for part in (train, test))
    )


def _digits() -> tuple[Split, Split]:
    import_sklearn()
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    parts = train_test_split(
        digits.images,
        digits.target,
        test_size=TEST_SHARE,
        random_state=SPLIT_SEED,
        stratify=digits.target,
    )
    train, test, train_labels, test_labels = map(torch.from_numpy, parts)
    return (
        Split(train.float().unsqueeze(1), train_labels.long()),
        Split(test.float().unsqueeze(1), test_labels.long()),
    )


def _mnist(folder: Path) -> tuple[Split, Split]:
    train, test = (_read_part(folder, prefix) for prefix in PARTS.values())
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = (list(part.images.shape[2:]) for part in (train, test))
        raise UsageError("{}: expected images of one shape, got {} and {}".format(folder, *shapes))
    return train, test


def _read_part(folder: Path, prefix: str) -> Split:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"), 3)
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"), 1)
    if images.size(1) != images.size(2) or images.size(1) < 8:
        raise UsageError(
            f"{folder}: expected square images of 8 pixels a side or more, got "
            f"{list(images.shape[1:])}"
        )
    if len(images) != len(labels):
        raise UsageError(
            f"{folder}: expected one label per image, got {len(images)} images and {len(labels)} "
            f"labels of {prefix}"
        )
    found = sorted(set(labels.tolist()))
    if found != list(range(IMAGE_CLASSES)):
        raise UsageError(
            f"{folder}: expected {prefix} labels of all digits from 0 to 9, "
            f"got {', '.join(map(str, found))}"
        )
    return Split(images.float().unsqueeze(1), labels.long())


def _find(folder: Path, name: str) -> Path:
    """Return a file of MNIST by its published name, also gzipped, or with a dot before ``idx``.

    Raises:
        UsageError: if the folder has no such file.
    """
    for spelled in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelled, folder / f"{spelled}.gz"):
            if path.is_file():
                return path
    raise UsageError(f"{folder}: expected MNIST's {name} or {name}.gz there, found neither")
