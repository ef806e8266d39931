"""The images to train on: IDX files, MNIST's folder, and the split of the digits."""

import gzip

import pytest
import torch

from lossbench.bench.cli import main
from lossbench.bench.train.data import load_images
from lossbench.bench.train.idx import read_idx
from tests.makers.mnist import idx, write_mnist


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_is_read_gzipped_or_not(tmp_path, pack):
    array = torch.arange(24).reshape(2, 3, 4)
    (tmp_path / "images").write_bytes(pack(idx(array)))
    assert torch.equal(read_idx(tmp_path / "images", 3), array.byte())


LABELS = idx(torch.arange(10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with 0x00000801; got an empty file"),
        (LABELS[:6], "begins with 0x00000801; got 0x00000801"),
        (idx(torch.zeros(2, 3, 4)), "bytes in 1 dimensions, which begins with 0x00000801; got 0x0"),
        (LABELS[:-1], "expected 10 bytes after the header, for [10]; got 9"),
        (LABELS + b"0", "expected 10 bytes after the header, for [10]; got 11"),
        (idx(torch.zeros(0)), "expected at least one element, got [0]"),
        (gzip.compress(LABELS, mtime=0)[:-6], "damaged gzip data"),
        (gzip.compress(LABELS, mtime=0)[:-8] + b"00000000", "damaged gzip data"),
        (None, "No such file or directory; expected an IDX file"),
    ],
)
def test_a_file_that_is_not_idx_is_reported_in_one_line(tmp_path, content, message):
    path = tmp_path / "labels"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="labels: ") as raised:
        read_idx(path, 1)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_mnist_is_read_from_a_folder_and_standardised(tmp_path):
    data = load_images(str(write_mnist(tmp_path)), "cpu")
    assert data.train.images.shape == data.test.images.shape == (80, 1, 12, 12)
    assert data.side == 12
    assert abs(float(data.train.images.mean())) < 1e-5
    assert float(data.train.images.std()) == pytest.approx(1)
    assert data.test.labels.tolist() == [i % 10 for i in range(80)]


def test_all_digits_are_split_with_enough_test_images_of_each():
    data = load_images("digits", "cpu")
    assert len(data.train.labels) + len(data.test.labels) == 1797
    assert data.test.labels.bincount().min() >= 40


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", torch.arange(70) % 10, "80 images and 70 labels of train"),
        ("train-labels-idx1-ubyte", torch.arange(80) % 9, "all digits from 0 to 9, got 0, 1"),
        ("t10k-labels-idx1-ubyte", torch.arange(80) % 11, "all digits from 0 to 9, got 0, 1"),
        ("t10k-images-idx3-ubyte", torch.zeros(80, 9, 9), "images of one shape, got [12, 12]"),
        ("train-images-idx3-ubyte", torch.zeros(80, 9, 8), "square images of 8 pixels"),
    ],
)
def test_a_folder_without_valid_mnist_files_is_refused(tmp_path, name, array, message, capsys):
    (write_mnist(tmp_path) / name).write_bytes(idx(array))
    assert main(["train", "--mnist", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
