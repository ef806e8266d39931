"""Every call gets other inputs and another state, in the same tensors."""

import pytest
import torch

from lossbench import impls
from lossbench.bench.case import feed as feed_module
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.feed import Feed
from lossbench.bench.case.workload import Workload

LOSSES = ("arcface", "center_mse", "sphereface", "center_all_pairs", "contrastive", "island")
CALLS = 40


def calls_of(loss, data="gaussian", dtype="float32"):
    case = Case(loss, 16, 64, 5, dtype=dtype, data=data)
    workload = Workload.of(case)
    return prepare_calls(workload.module(impls.implementation(loss, "reference")), Feed(workload))


def tensors_of(calls):
    return {**calls.feed.leaves, **calls.state}


@pytest.fixture(params=["whole", "part"])
def _written(request, monkeypatch):
    """Write parameters whole, or in parts as large ones are."""
    if request.param == "part":
        monkeypatch.setattr(feed_module, "WHOLE_BYTES", 16)
        monkeypatch.setattr(feed_module, "SLICE_BYTES", 64)
        monkeypatch.setattr(feed_module, "FED_LABELS", 4)


@pytest.mark.usefixtures("_written")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_a_call_gets_can_be_made_again(loss, dtype):
    calls = calls_of(loss, dtype=dtype)
    for _ in range(CALLS):
        calls.prepare()
        again = calls.feed.workload_of(calls.content)
        expected = {**again.inputs[0], **again.state}
        for name, tensor in tensors_of(calls).items():
            assert tensor.equal(expected[name]), name
        calls.step()


@pytest.mark.usefixtures("_written")
@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_comes_twice_and_everything_keeps_its_place(loss):
    calls = calls_of(loss)
    places = {name: tensor.data_ptr() for name, tensor in tensors_of(calls).items()}
    seen = {name: set() for name in places}
    for _ in range(CALLS):
        versions = {name: tensor._version for name, tensor in tensors_of(calls).items()}
        calls.prepare()
        for name, tensor in tensors_of(calls).items():
            assert tensor.data_ptr() == places[name]
            assert tensor._version > versions[name]
            seen[name].add(tensor.detach().numpy().tobytes())
    for name, contents in seen.items():
        # A counter of calls starts anew. Of five classes, few parts and orders differ.
        assert len(contents) > (0 if name == "iteration" else CALLS / 2), name
        assert len(contents) == CALLS or name not in ("embeddings", "x0", "x1")


def test_the_data_are_of_the_case_s_own_kind():
    calls = calls_of("arcface", "digits")
    calls.prepare()
    images, labels = calls.feed.leaves.values()
    # Pixels of digits have sixteen grey levels, so few numbers are distinct; noise has thousands.
    assert len(images.unique()) < 50
    assert len(labels.unique()) > 1


@pytest.mark.usefixtures("_written")
def test_feeding_draws_from_no_global_generator():
    before = torch.get_rng_state()
    feed = Feed(calls_of("arcface").feed.workload)
    feed.write_state(feed.draw(), {k: t.clone() for k, t in feed.workload.state.items()})
    assert torch.get_rng_state().equal(before)


def test_few_batches_are_prepared_where_they_are_large(monkeypatch):
    monkeypatch.setattr(feed_module, "BATCHES_BYTES", 1)
    calls = calls_of("arcface")
    calls.prepare()
    assert len(calls.feed._batches) == 2
