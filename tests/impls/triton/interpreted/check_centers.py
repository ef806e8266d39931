"""The centre losses and the island loss, in the interpreter."""

import pytest
import torch

from lossbench import impls
from tests.impls.triton.oracle import agree, compare, step

OWN = ("center", "center_mse", "island")
LOSSES = (*OWN, "softmax_center", "softmax_center_unsquared", "center_all_pairs")
# Rows, features and classes: more and fewer classes than rows, and several tiles of each.
SIZES = ((1, 1, 1), (2, 3, 7), (31, 1, 2), (33, 17, 40), (100, 3, 20))


@pytest.mark.parametrize("loss", LOSSES)
def test_agrees_on_every_draw(loss):
    agree(loss, (31, 17, 5))


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [
        ("center_mse", "float16"),
        ("island", "bfloat16"),
        ("softmax_center_unsquared", "float16"),
        ("center_all_pairs", "bfloat16"),
    ],
)
def test_half_precision(loss, dtype):
    agree(loss, (17, 3, 20), dtype)


def labelled(batch, dim, classes, loss):
    """Return inputs, the state of a loss, and its sizes."""
    state = {"centers": torch.randn(classes, dim)}
    if loss.startswith("softmax"):
        state["weight"] = torch.randn(dim, classes)
    sizes = {"num_classes": classes, "embedding_dim": dim}
    return (torch.randn(batch, dim), torch.randint(classes, (batch,))), state, sizes


@pytest.mark.parametrize("loss", ["center_mse", "island", "center_all_pairs"])
@pytest.mark.parametrize("size", SIZES)
def test_awkward_sizes(loss, size):
    inputs, state, sizes = labelled(*size, loss)
    # The gradient of a cosine cancels where there is one feature.
    tolerance = 1e-5 if (loss, size[1]) == ("island", 1) else 2e-6
    compare(loss, inputs, state, tolerance=tolerance, **sizes)


@pytest.mark.parametrize("loss", ["center", "island", "center_all_pairs"])
@pytest.mark.parametrize("labels", [torch.zeros(33), torch.arange(33).flip(0)], ids=["one", "all"])
def test_one_class_and_singletons(loss, labels):
    (x, _), state, sizes = labelled(33, 3, 33, loss)
    compare(loss, (x, labels.long()), state, upstream=3.0, **sizes)


def test_a_sample_close_to_its_centre_keeps_its_digits():
    (x, labels), state, sizes = labelled(20, 17, 5, "center_all_pairs")
    x = 10 * state["centers"][labels] + 1e-3 * x
    state = {"centers": 10 * state["centers"]}
    compare("center_all_pairs", (x, labels), state, tolerance=1e-5, **sizes)


def test_samples_on_their_centres_have_no_gradient():
    (_, labels), state, sizes = labelled(5, 3, 7, "softmax_center_unsquared")
    x = state["centers"][labels]
    _, (_, for_centers, _) = step("softmax_center_unsquared", "triton", (x, labels), state, **sizes)
    assert for_centers.abs().max() == 0


# Up to torch 2.12 it warns that it does not check a sparse tensor, although it is told not to.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("loss", ["center", "center_mse"])
def test_a_sparse_gradient_is_the_dense_one(loss):
    inputs, state, sizes = labelled(40, 3, 9, loss)
    _, (dense_x, dense) = step(loss, "triton", inputs, state, **sizes)
    _, (sparse_x, sparse) = step(loss, "triton_sparse", inputs, state, **sizes)
    assert sparse.layout == torch.sparse_coo
    assert torch.equal(sparse.coalesce().indices()[0], inputs[1].unique())
    assert torch.equal(sparse.to_dense(), dense)
    assert torch.equal(sparse_x, dense_x)


def two_steps(loss, variant, inputs, state, dtype=torch.float32, **arguments):
    """Return the gradient of the embeddings in the second of two steps, and the centres after."""
    module = impls.implementation(loss, variant).build(**arguments).to(dtype)
    module.load_state_dict(state)
    x = inputs[0].to(dtype, copy=True).requires_grad_()
    module(x.detach(), inputs[1])
    loss = module(x, inputs[1]).loss
    loss.backward()
    return loss.double(), x.grad.double(), module.centers.detach().double()


@pytest.mark.parametrize(
    ("loss", "variant"),
    [("center", "triton"), ("center", "triton_sparse"), ("softmax_center", "triton")],
)
def test_centres_with_a_rate_move_after_each_step(loss, variant):
    inputs, state, arguments = labelled(33, 3, 9, loss)
    arguments["center_rate"] = 0.5
    wanted = two_steps(loss, "reference", inputs, state, torch.float64, **arguments)
    found = two_steps(loss, variant, inputs, state, **arguments)
    torch.testing.assert_close(found, wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("loss", ["center", "island", "center_all_pairs"])
def test_two_runs_give_the_same_bits(loss):
    inputs, state, sizes = labelled(50, 3, 4, loss)
    arguments = {"center_rate": 0.5} if loss == "center" else {}
    first, second = (
        two_steps(loss, "triton", inputs, state, **sizes, **arguments) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("loss", ["center_mse", "island"])
def test_a_label_that_is_no_class_is_refused(loss):
    (x, labels), state, sizes = labelled(4, 3, 5, loss)
    for wrong in (-1, 5):
        labels[0] = wrong
        with pytest.raises((IndexError, RuntimeError)):
            step(loss, "triton", (x, labels), state, **sizes)


@pytest.mark.parametrize("loss", ["center_mse", "island", "center_all_pairs"])
def test_frozen_embeddings_or_centres_have_no_gradient(loss):
    (x, labels), state, sizes = labelled(20, 3, 5, loss)
    _, wanted = step(loss, "triton", (x, labels), state, **sizes)
    module = impls.implementation(loss, "triton").build(**sizes)
    module.load_state_dict(state)
    (for_centers,) = torch.autograd.grad(module(x, labels).loss, module.centers)
    module.load_state_dict(state)
    module.centers.requires_grad_(False)
    (for_x,) = torch.autograd.grad(module(x.requires_grad_(), labels).loss, x)
    assert torch.equal(for_x.double(), wanted[0])
    assert torch.equal(for_centers.double(), wanted[1])
