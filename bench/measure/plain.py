"""Check that results are plain tensors: of torch's own class, on the device, with memory."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

LAYOUTS = (torch.strided, torch.sparse_coo)


def why_not_plain(results: Mapping[str, object], device: str) -> str:
    """Return why one of the results is no plain tensor, or nothing.

    A subclass can put off its work until somebody reads it. A tensor without memory of its own
    reads what nobody wrote.

    Args:
        results: outputs and gradients by name.
        device: ``cpu`` or ``cuda``.
    """
    return next((f"{name} is {fault}" for name, fault in _faults(results, device)), "")


def _faults(results: Mapping[str, object], device: str) -> Iterator[tuple[str, str]]:
    for name, result in results.items():
        fault = _fault(result, device)
        if fault:
            yield name, fault


def _fault(result: object, device: str) -> str:
    if not isinstance(result, Tensor) or type(result) is not Tensor:
        return f"a {type(result).__name__}, expected a plain torch.Tensor"
    if result.device.type != device:
        return f"on {result.device}, expected {device}"
    if result.layout not in LAYOUTS:
        return f"of layout {result.layout}, expected {' or '.join(map(str, LAYOUTS))}"
    if any(part.untyped_storage().nbytes() < _needed_bytes(part) for part in dense_parts(result)):
        return "larger than its memory"
    return ""


def dense_parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors that hold the numbers of a tensor: of a sparse one, two."""
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    return (tensor,)


def _needed_bytes(tensor: Tensor) -> int:
    if not tensor.numel():
        return 0
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return int(tensor.storage_offset() + last + 1) * tensor.element_size()


def numbers_of(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor: of a sparse one its values, without their places.

    The places of a sparse gradient may be the labels themselves, as those of ``nn.Embedding`` are.
    """
    return dense_parts(tensor)[-1]


def addresses(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the address of the numbers of each tensor that has some, by name."""
    found = {name: numbers_of(t).untyped_storage().data_ptr() for name, t in tensors.items()}
    return {name: address for name, address in found.items() if address}
