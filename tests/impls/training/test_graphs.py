"""A compiled model refuses labels that are no class, the default checks on."""

import pytest
import torch

from tests.impls.training.test_situations import QUICK
from tests.makers.training import TRAINEES

COMPILED = [
    pytest.param(t, id=str(t), marks=() if str(t) in QUICK else pytest.mark.slow)
    for t in TRAINEES
    if t.loss.inputs == "labelled" and not t.limit("compile")
]


@pytest.mark.parametrize("trainee", COMPILED)
@pytest.mark.parametrize("stray", [-1, 100])
def test_a_graph_refuses_a_label_that_is_no_class(trainee, stray):
    if stray == 100 and not trainee.loss.has_classes:
        pytest.skip("any number is a class")
    torch.compiler.reset()
    call = torch.compile(trainee.net(), fullgraph=True, backend="aot_eager")
    embeddings, labels = trainee.draw()
    call(embeddings, labels)
    labels[3] = stray
    with pytest.raises((RuntimeError, IndexError)):
        call(embeddings, labels)
