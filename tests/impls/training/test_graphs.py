"""Whole models compiled and exported with the loss in them, the default checks on."""

import pytest
import torch

from tests.makers.training import ENTRANTS, EVERY, Net, draw, gradients

# The compiler of the graphs' code is tried in test_compiled.py; here the graphs are.
BACKEND = "aot_eager"


def compiled(net, backend=BACKEND):
    torch.compiler.reset()
    return torch.compile(net, fullgraph=True, backend=backend)


# One of each way to build or to refuse a loss; the others take minutes, and run with -m slow.
QUICK = (
    "arcface-reference",
    "normface-fused",
    "sphereface-vectorized",
    "softmax_center-fused-center_rate",
    "center-sparse",
    "center_all_pairs-reference",
    "center_all_pairs-fused",
    "center_all_pairs-vectorized",
    "contrastive-fused",
)


def marked(entrants):
    """Return the entrants, those that are not quick marked as slow."""
    return [
        pytest.param(e, id=str(e), marks=() if str(e) in QUICK else pytest.mark.slow)
        for e in entrants
    ]


@pytest.mark.parametrize("entrant", marked(ENTRANTS))
def test_a_model_compiles_as_one_graph_with_a_short_last_batch(entrant):
    eager, other = Net(entrant), Net(entrant)
    call = compiled(other)
    if entrant.limit("compile"):
        with pytest.raises((RuntimeError, NotImplementedError), match=r"center|gradient"):
            call(*draw(entrant.loss))
        return
    for batch in (12, 7):
        inputs = draw(entrant.loss, batch=batch)
        for net, run in ((eager, eager), (other, call)):
            net.zero_grad()
            run(*inputs).backward()
        torch.testing.assert_close(gradients(other), gradients(eager), rtol=1e-3, atol=1e-4)


@EVERY
def test_exports_or_refuses(entrant):
    module = entrant.head()
    inputs = draw(entrant.loss)
    if entrant.limit("export"):
        with pytest.raises((RuntimeError, NotImplementedError)):
            torch.export.export(module, inputs)
        return
    exported = torch.export.export(module, inputs).module()
    torch.testing.assert_close(exported(*inputs)[0], entrant.head()(*inputs)[0])


@pytest.mark.parametrize(
    "entrant",
    marked(e for e in ENTRANTS if e.loss.inputs == "labelled" and not e.limit("compile")),
)
@pytest.mark.parametrize("stray", [-1, 100])
def test_a_graph_refuses_a_label_that_is_no_class(entrant, stray):
    if stray == 100 and not entrant.loss.has_classes:
        pytest.skip("any number is a class")
    call = compiled(Net(entrant))
    embeddings, labels = draw(entrant.loss)
    call(embeddings, labels)
    labels[3] = stray
    with pytest.raises((RuntimeError, IndexError)):
        call(embeddings, labels)
