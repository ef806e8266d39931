"""The references give the values of the documents' own code, to 1e-10 in float64."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lossbench import impls

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "cases.json").read_text())
TOLERANCE = 1e-10


def load(name):
    with np.load(DATA / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(np.array(arrays[key])) for key in arrays.files}


def group(golden, prefix):
    return {key[len(prefix) :]: value for key, value in golden.items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", CASES)
def test_reference_gives_the_documents_values(name):
    golden = load(name)
    reference = impls.loss(CASES[name]["loss"]).reference
    module = reference(**CASES[name]["hyper"]).double()
    module.load_state_dict(group(golden, "state."))
    inputs = group(golden, "in.")
    expected_gradients = group(golden, "grad.")
    for key in inputs.keys() & expected_gradients.keys():
        inputs[key].requires_grad_()

    out = module(**inputs)
    leaves = {**inputs, **dict(module.named_parameters())}
    given = {"out." + key: getattr(out, key) for key in group(golden, "out.")}
    if expected_gradients:
        wanted = [leaves[key] for key in expected_gradients]
        gradients = torch.autograd.grad(out[0].sum(), wanted)
        given |= {f"grad.{key}": g for key, g in zip(expected_gradients, gradients, strict=True)}
    given |= {f"after.{key}": value for key, value in module.state_dict().items()}

    assert given.keys() == {key for key in golden if not key.startswith(("in.", "state."))}
    for key, value in given.items():
        torch.testing.assert_close(value, golden[key], rtol=TOLERANCE, atol=TOLERANCE, msg=key)


def test_all_thirty_vectors_of_all_fifteen_entries_are_held():
    assert len(CASES) == 30
    assert len({case["loss"] for case in CASES.values()}) == 15
    assert {path.stem for path in DATA.glob("*.npz")} == CASES.keys()
