"""Labels and batches as they come: any integer dtype, none out of range, few or no samples."""

import pytest
import torch

from lossbench import impls
from tests.makers.training import (
    BATCH,
    CLASSES,
    DIM,
    EVERY,
    LABELLED,
    PARAMETRIC,
    draw,
    reference_of,
)

MANY = 70_000


@LABELLED
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16])
def test_takes_every_integer_dtype(entrant, dtype):
    embeddings, labels = draw(entrant.loss)
    expected = entrant.head()(embeddings, labels)[0]
    assert torch.equal(entrant.head()(embeddings, labels.to(dtype))[0], expected)


@PARAMETRIC
@pytest.mark.parametrize("stray", [-1, -100, "C"])
@pytest.mark.parametrize("classes", [CLASSES, MANY])
def test_without_checks_a_label_out_of_range_is_an_error_at_every_size(entrant, stray, classes):
    if classes == MANY and str(entrant) == "island-reference":
        pytest.skip("all pairs of 70,000 centres take 20 GB")
    module = entrant.head(classes=classes, dim=2, validate=False)
    labels = torch.arange(BATCH) % CLASSES
    labels[0] = classes if stray == "C" else stray
    with pytest.raises((IndexError, RuntimeError)):
        module(torch.randn(BATCH, 2, requires_grad=True), labels)


def outcome(entrant, inputs):
    """Return the loss, or the message that refuses the inputs."""
    try:
        return entrant.head()(*inputs)[0]
    except ValueError as error:
        return str(error)


def few(loss, kind):
    """Return a last batch of a kind."""
    inputs = draw(loss, batch={"one class": BATCH, "one sample": 1, "empty": 0}[kind])
    if kind == "one class" and loss.inputs == "labelled":
        inputs[1].fill_(1)
    return inputs


@EVERY
@pytest.mark.parametrize("kind", ["one class", "one sample", "empty"])
def test_a_last_batch_is_taken_or_refused_as_by_the_reference(entrant, kind):
    inputs = few(entrant.loss, kind)
    expected, given = outcome(reference_of(entrant), inputs), outcome(entrant, inputs)
    if isinstance(expected, str):
        assert given == expected
    else:
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


@EVERY
def test_an_empty_batch_is_refused_by_name(entrant):
    if entrant.loss.kind == "distance":
        pytest.skip("the distances of no rows are none")
    message = outcome(entrant, few(entrant.loss, "empty"))
    first = entrant.loss.input_names[0]
    assert message == f"{entrant.loss.name}: {first} must be of one sample or more, got [0, {DIM}]"


@pytest.mark.parametrize("name", ["contrastive", "contrastive_whole_batch"])
@pytest.mark.parametrize("wrong", [-1.0, 2.0, 0.5, float("nan")])
def test_pairs_are_similar_or_not(name, wrong):
    x0, x1, same = draw(impls.loss(name))
    same[3] = wrong
    for implementation in impls.implementations(name):
        if implementation.unsupported("cpu", torch.float32) is None:
            with pytest.raises(ValueError, match=f"{name}: same must be 0 or 1, got {wrong}"):
                implementation.build()(x0, x1, same)
