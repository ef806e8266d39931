"""Two trees are imported in one process, and their common variants are compared."""

import pickle
import sys
from dataclasses import replace

import pytest
import torch

from lossbench.bench.gate.plan import choose_cells
from lossbench.bench.gate.redirecting import redirect_imports
from lossbench.bench.gate.trees import copy_files
from tests.makers.comparisons import PLAN


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import impls\n", "import new.impls as impls\n"),
        ("import impls as i, os\n", "import new.impls as i, os\n"),
        ("import impls.a.b\n", "import new.impls.a.b, new.impls as impls\n"),
        ("import impls.a as a\n", "import new.impls.a as a\n"),
        ("from impls import x\n", "from new.impls import x\n"),
        ("import lossbench\n", "import new as lossbench\n"),
        ("from lossbench import impls\n", "from new import impls\n"),
        ("from lossbench.y import x as z  # θ\n", "from new.y import x as z  # θ\n"),
        (
            "from impls.a import (\n    x,\n    y,\n)\nz\n",
            "from new.impls.a import x, y\n\n\n\nz\n",
        ),
        ("def f():\n    '²'; import impls\n", "def f():\n    '²'; import new.impls as impls\n"),
        ("import implsx\nfrom . import impls\n", "import implsx\nfrom . import impls\n"),
        ("'import impls'  # import impls\n", "'import impls'  # import impls\n"),
        ("from impls import (\n", "from impls import (\n"),
    ],
)
def test_imports_are_redirected_and_lines_stay(source, expected):
    renames = {"lossbench": "new", "impls": "new.impls"}
    assert redirect_imports(source.encode(), renames).decode() == expected


@pytest.fixture
def pair(tmp_path):
    """Two copies of the working tree; the second's contrastive loss is twice as large."""
    one, two = (copy_files(name, tmp_path) for name in ("one", "two"))
    with two.file("impls/fused/contrastive.py").open("a") as file:
        file.write(
            "\nonce = Contrastive.forward\n"
            "def twice(self, x0, x1, same):\n"
            "    from two_lossbench.impls.late import FACTOR\n"
            "    return LossOnly(FACTOR * once(self, x0, x1, same).loss)\n"
            "Contrastive.forward = twice\n"
        )
    two.file("impls/late.py").write_text("FACTOR = 2\n")
    yield one, two
    for name in [name for name in sys.modules if name.startswith(("one_", "two_"))]:
        del sys.modules[name]
    sys.path.remove(str(tmp_path))


def inputs():
    generator = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, 6, 4, generator=generator)
    return {"x0": x0, "x1": x1, "same": torch.tensor([1.0, 0, 1, 0, 1, 0])}


def test_two_trees_live_side_by_side(pair):
    one, two = (tree.load().implementation("contrastive", "fused") for tree in pair)
    assert type(one) is not type(two)
    first, second = one.build(), two.build()
    assert type(first).__module__ == "one_lossbench.impls.fused.contrastive"
    assert type(second).__module__ == "two_lossbench.impls.fused.contrastive"
    assert second(**inputs()).loss == 2 * first(**inputs()).loss
    for module in (first, second):
        again = pickle.loads(pickle.dumps(module))
        assert type(again) is type(module)
        out = again(**inputs())
        assert type(out).__module__.split("_")[0] == type(module).__module__.split("_")[0]


def test_nothing_of_a_tree_is_the_harness_s_own_or_the_other_s(pair):
    for tree in pair:
        tree.load()
    for name, module in list(sys.modules.items()):
        prefix = name.split("_")[0]
        if prefix not in ("one", "two"):
            continue
        for value in vars(module).values():
            home = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            top = str(home).split(".")[0]
            assert not top.endswith("lossbench") or top.startswith(prefix), home


def test_torch_compile_keeps_the_trees_apart(pair):
    outs = [
        torch.compile(
            tree.load().implementation("contrastive", "fused").build(validate=False),
            backend="eager",
            fullgraph=True,
        )(**inputs())
        for tree in pair
    ]
    assert outs[1].loss == 2 * outs[0].loss
    assert [type(out).__module__ for out in outs] == [
        "one_lossbench.reference.outputs",
        "two_lossbench.reference.outputs",
    ]


def test_cells_are_what_both_trees_have_and_no_reference_is_weighed_at_large_sizes():
    base = {"island": ("reference", "fused", "fused+compile"), "softmax": ("old",)}
    head = {"island": ("reference", "fused", "fused+compile"), "softmax": ("new",)}
    cells = [(c.case.batch, c.variant, c.judged) for c in choose_cells(PLAN, base, head)]
    assert cells == [(128, "reference", True), (128, "fused", True), (1024, "fused", False)]
    compiled = replace(PLAN, variants=("fused+compile",), counted=())
    assert [c.variant for c in choose_cells(compiled, base, head)] == ["fused+compile"]
