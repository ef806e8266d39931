"""Read IDX files, the format in which MNIST is published, gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from lossbench.bench.errors import UsageError

UNSIGNED_BYTES = 0x08
GZIP = b"\x1f\x8b"


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Return the uint8 array of an IDX file of unsigned bytes.

    The format: two zero bytes, a code for the element type, the number of dimensions, each size as
    four bytes in big-endian order, then the elements in row-major order.

    Args:
        path: path of the file; gzip is recognised by the content.
        dimensions: number of dimensions to expect: 3 for images ``[N, H, W]``, 1 for labels
            ``[N]``.

    Raises:
        UsageError: if the file cannot be read, or holds no such array.
    """
    content = _read(path)
    wanted = (UNSIGNED_BYTES << 8) + dimensions
    magic = int.from_bytes(content[:4], "big")
    header = 4 + 4 * dimensions
    if magic != wanted or len(content) < header:
        raise UsageError(
            f"{path}: expected an IDX file of bytes in {dimensions} dimensions, which begins with "
            f"0x{wanted:08x}; got {'0x' + content[:4].hex() if content else 'an empty file'}"
        )
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    if len(content) - header != math.prod(shape):
        raise UsageError(
            f"{path}: expected {math.prod(shape)} bytes after the header, for {shape}; "
            f"got {len(content) - header}"
        )
    if not math.prod(shape):
        raise UsageError(f"{path}: expected at least one element, got {shape}")
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8).reshape(shape)


def _read(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is gzipped.

    Raises:
        UsageError: if the file cannot be read, or its compressed content is damaged.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}: damaged gzip data ({error}); expected an IDX file") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected an IDX file") from error
