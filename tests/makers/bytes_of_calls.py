"""Count the bytes that a call allocates and saves."""

import torch

from lossbench.bench.measure.memory import footprint


def peak_bytes(call):
    """Return the largest memory at any moment of ``call``, in bytes, and its result."""
    results = []
    peak = footprint(lambda: results.append(call()), "cpu").peak_bytes
    assert peak > 0
    return peak, results[0]


def saved_bytes(call, *known):
    """Return the bytes saved for backward, except ``known`` tensors, and the result of a call."""
    given = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    return sum(kept.values()), result
