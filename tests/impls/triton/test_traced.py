"""torch.compile sees through the operators: one graph, in which each kernel is a node."""

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import min_cut_rematerialization_partition

from lossbench import impls
from tests.impls.triton.inputs import inputs_of

triton = pytest.importorskip("triton", reason="needs the package triton")
pytestmark = pytest.mark.triton

BATCH, DIM, CLASSES = 24, 8, 20_000
# The launches of each pass; the backward pass takes three for each of three blocks of classes.
LAUNCHES = {
    "softmax": (3, 10),
    "sphereface": (4, 10),
    "triplet_batch_hard": (4, 1),
    "triplet_weighted": (4, 2),
    "center_mse": (2, 2),
    "island": (4, 3),
    "contrastive": (2, 1),
    "pairwise_distance": (3, 2),
}


class FakeDriver:
    """The driver of a GPU that is not here: torch asks it for what a kernel writes to."""

    def get_current_target(self):
        return triton.backends.compiler.GPUTarget("cuda", 90, 32)


@pytest.fixture
def fake_driver():
    former = triton.runtime.driver._active
    triton.runtime.driver.set_active(FakeDriver())
    yield
    triton.runtime.driver._active = former
    torch._dynamo.reset()


def counting_backend(counts):
    """Return a compiler whose code returns empty tensors of the right shapes."""

    def compile_graph(graph, _inputs):
        counts.append(sum("triton_kernel" in str(node.target) for node in graph.graph.nodes))
        (outputs,) = graph.graph.find_nodes(op="output")[0].args
        return make_boxed_func(lambda *_: [empty_like(node) for node in outputs])

    return aot_autograd(
        fw_compiler=compile_graph,
        bw_compiler=compile_graph,
        partition_fn=min_cut_rematerialization_partition,
    )


def empty_like(node):
    value = None if node is None else node.meta["val"]
    if isinstance(value, torch.Tensor):
        return torch.empty([hint(size) for size in value.shape], dtype=value.dtype)
    return value if value is None else hint(value)


def hint(size):
    """Return the size that was seen of a symbolic one."""
    return size.node.hint if isinstance(size, torch.SymInt) else size


@pytest.mark.usefixtures("fake_driver")
@pytest.mark.parametrize("loss", LAUNCHES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_both_passes_are_one_graph_with_a_node_for_each_launch(loss, dynamic):
    sizes = {"num_classes": CLASSES, "embedding_dim": DIM}
    module = impls.implementation(loss, "triton").build(
        **(sizes if impls.loss(loss).has_classes else {})
    )
    counts = []
    compiled = torch.compile(
        module, backend=counting_backend(counts), fullgraph=True, dynamic=dynamic
    )
    x = torch.randn(BATCH, DIM, requires_grad=True)
    compiled(*inputs_of(loss, x, torch.arange(BATCH) % 5))[0].sum().backward()
    assert tuple(counts) == LAUNCHES[loss]
