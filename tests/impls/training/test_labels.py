"""Labels and batches that no loss is defined for: each is refused, by name where it is checked."""

import re
from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.training_loop.trainee import LoopSizes, Trainee
from tests.makers.training import BATCH, CLASSES, DIM, EVERY, PARAMETRIC

MANY = 70_000


@PARAMETRIC
@pytest.mark.parametrize("stray", [-1, -100, "C"])
@pytest.mark.parametrize("classes", [CLASSES, MANY])
def test_without_checks_a_label_out_of_range_is_an_error_at_every_size(trainee, stray, classes):
    if classes == MANY and str(trainee) == "island-reference":
        pytest.skip("all pairs of 70,000 centres take 20 GB")
    module = replace(trainee, sizes=LoopSizes(dim=2, classes=classes)).head(validate=False)
    labels = torch.arange(BATCH) % CLASSES
    labels[0] = classes if stray == "C" else stray
    with pytest.raises((IndexError, RuntimeError)):
        module(torch.randn(BATCH, 2, requires_grad=True), labels)


@EVERY
def test_an_empty_batch_is_refused_by_name(trainee):
    if trainee.loss.kind == "distance":
        pytest.skip("the distances of no rows are none")
    first = trainee.loss.input_names[0]
    message = f"{trainee.name}: {first} must be of one sample or more, got [0, {DIM}]"
    with pytest.raises(ValueError, match=re.escape(message)):
        trainee.head()(*trainee.draw(batch=0, dtype=torch.float32))


@pytest.mark.parametrize("name", ["contrastive", "contrastive_whole_batch"])
@pytest.mark.parametrize("wrong", [-1.0, 2.0, 0.5, float("nan"), float("inf")])
def test_pairs_are_similar_or_not(name, wrong):
    x0, x1, same = Trainee(name, "reference").draw(dtype=torch.float32)
    same[3] = wrong
    for implementation in impls.implementations(name):
        if implementation.unsupported("cpu", torch.float32) is None:
            with pytest.raises(ValueError, match=f"{name}: same must be 0 or 1, got {wrong}"):
                implementation.build()(x0, x1, same)
