"""The compiled variants in the situations that the compiler can change; most take minutes."""

import pytest
import torch

from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.situation import find
from tests.makers.training import trainees

# Those of several processes, of optimizers and of copies run the code of these.
SITUATIONS = (
    "autocast float16",
    "autocast bfloat16",
    "float16 inputs",
    "bfloat16 inputs",
    "accumulation",
    "two forwards",
    "retain_graph",
    "frozen backbone",
    "frozen head",
    "checkpoint",
    "checkpoint, reentrant",
    "two checkpoints",
    "checkpoints of one batch",
    "eval, no_grad",
    "eval, inference_mode",
    "deepcopy",
    "pickle",
    "weight decay, AdamW",
    "compile, fullgraph",
    "export",
    "torch.func",
    "double backward",
    "forward mode",
    "label dtypes",
    "batch of one class",
    "batch of one sample",
    "empty batch",
)
QUICK = {("retain_graph", "contrastive-fused+compile"), ("checkpoint", "center-fused+compile")}


def cells():
    """Yield every cell, most of them marked as slow; other modes compile the same graphs."""
    for trainee in trainees(compiled=True):
        for name in SITUATIONS if trainee.variant.endswith("+compile") else ():
            marks = () if (name, str(trainee)) in QUICK else pytest.mark.slow
            yield pytest.param(LOOP_SITUATIONS[name], trainee, id=f"{name}-{trainee}", marks=marks)


@pytest.fixture(autouse=True)
def _no_code_of_other_tests():
    torch.compiler.reset()


# The compiler looks at the gradient of every input, of which torch warns.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize(("situation", "trainee"), list(cells()))
def test_compiled_code_is_right_or_refuses_as_documented(situation, trainee):
    found = find(situation, trainee)
    assert found.fitness != "worse", found.reason
