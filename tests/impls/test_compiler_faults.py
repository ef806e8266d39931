"""What the compilers of older releases of torch get wrong, and how the code avoids it."""

import ast

import pytest
import torch

from lossbench import impls
from lossbench.bench.paths import ROOT
from lossbench.impls import differentiable
from lossbench.impls.differentiable import returns_new_tensor
from lossbench.impls.fused.pairs.mining import hardest

# The Functions of the first two return what an operator of their own has made; the last are refused
# by these releases.
APART = ("native", "triton", "sharded")
FILES = sorted(p for p in (ROOT / "impls").rglob("*.py") if p.parent.name not in APART)


def functions():
    """Yield every class of an autograd.Function in impls, with the name of its file."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            bases = [ast.unparse(b) for b in getattr(node, "bases", ())]
            if "torch.autograd.Function" in bases:
                yield pytest.param(node, id=f"{path.stem}-{node.name}")


@pytest.mark.parametrize("function", list(functions()))
def test_the_forward_of_every_function_returns_a_new_tensor(function):
    (forward,) = (n for n in function.body if getattr(n, "name", "") == "forward")
    decorators = [ast.unparse(decorator) for decorator in forward.decorator_list]
    # The result of this one is a clone.
    assert decorators[1:2] == ["returns_new_tensor"] or function.name == "_Refusal"


def test_only_compiled_code_of_an_old_torch_copies_the_result(monkeypatch):
    def forward(x):
        return x.mul_(2)

    monkeypatch.setattr(differentiable, "running_release", lambda: (2, 12))
    assert returns_new_tensor(forward) is forward
    monkeypatch.setattr(differentiable, "running_release", lambda: (2, 11))
    old = returns_new_tensor(forward)
    x = torch.ones(3)
    assert old(x) is x
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert old(x) is not x
    assert torch.equal(old(x), x)


@pytest.mark.parametrize(("batch", "dim"), [(12, 8), (12, 1), (33, 8)])
def test_compiled_mining_finds_the_partners_of_eager_mining(batch, dim):
    torch.compiler.reset()
    torch.manual_seed(0)
    x, labels = torch.randn(batch, dim), torch.arange(batch) % 3
    compiled = torch.compile(hardest, fullgraph=True, dynamic=False)
    # Every other element of a tensor with other labels in the gaps.
    spread = torch.stack([labels, labels.flip(0)], dim=1)[:, 0]
    for given in (labels, spread):
        assert torch.equal(compiled(x, given), hardest(x, labels))


@pytest.mark.parametrize("variant", ["fused", "torch"])
def test_compiled_triplets_of_strided_labels_are_those_of_eager_code(variant):
    torch.compiler.reset()
    torch.manual_seed(0)
    x, labels = torch.randn(17, 16), torch.arange(17) % 3
    spread = torch.stack([labels, labels.flip(0)], dim=1)[:, 0]
    eager, compiled = (
        impls.implementation("triplet_batch_hard", name).build(margin=0.3)
        for name in (variant, f"{variant}+compile")
    )
    torch.testing.assert_close(compiled(x, spread)[0], eager(x, labels)[0])


def test_a_gradient_of_a_compiled_function_that_ends_in_place_is_not_lost():
    torch.compiler.reset()
    entry = impls.implementation("pairwise_squared_distance", "fused+compile")
    module = entry.build()
    a, b = (torch.randn(12, 8, requires_grad=True) for _ in range(2))
    (gradient,) = torch.autograd.grad(module(a, b)[0].sum(), [a])
    expected = 2 * (12 * a - b.sum(0))
    torch.testing.assert_close(gradient, expected.detach())
