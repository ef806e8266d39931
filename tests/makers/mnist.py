"""Make folders of IDX files for the tests of reading MNIST."""

import gzip

import torch


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.dim()]) + sizes + bytes(array.flatten().int().tolist())


def write_mnist(folder, count=80, pack=gzip.compress):
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    for prefix in ("train", "t10k"):
        labels = torch.arange(count) % 10
        images = torch.randint(0, 50, (count, 12, 12), generator=generator)
        for image, label in zip(images, labels, strict=True):
            image[int(label)] = 250
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(pack(idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder
