"""Follow CONTRIBUTING.md literally to add a new loss and a new implementation."""

import re

import pytest

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import measure_agreement
from tests.makers.scratch import ROOT, ScratchTree

PAGE = (ROOT / "CONTRIBUTING.md").read_text()

REFERENCE = '''"""CosFace: softmax over scaled cosines, the target's lowered by a margin."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.reference.outputs import LossAndLogits


class CosFace(nn.Module):
    """Additive cosine margin (Wang et al. 2018, CosFace, Eq. 4).

    Args:
        num_classes: the number of classes, C.
        embedding_dim: the length of an embedding, D.
        scale: the factor s of all cosines.
        margin: the amount m taken off the target's cosine.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, scale: float = 32, margin: float = 0.35
    ) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]`` of ``embeddings [B, D]``, ``labels [B]``."""
        labels = labels.long()
        cosine = F.normalize(embeddings) @ F.normalize(self.weight, dim=0)
        is_target = F.one_hot(labels, cosine.size(1)).to(cosine.dtype)
        logits = self.scale * (cosine - self.margin * is_target)
        return LossAndLogits(F.cross_entropy(logits, labels), logits)
'''
IMPORT = "from lossbench.reference.cosface import CosFace\n"
ENTRY = """    Loss(
        name="cosface",
        summary="additive cosine margin",
        formula="-mean_i log softmax(s cos θ_j, the target's s (cos θ - m))[y_i]",
        paper="Wang et al. 2018, CosFace, arXiv 1801.09414, Eq. 4",
        reference=CosFace,
        inputs="labelled",
        output=LossAndLogits,
        cost=COSINES,
        departures=("the scale and the margin are fixed",),
    ),
"""
COUNTED = """    "cosface": partial(
        cosines, entropy=partial(arcface, target=lambda cosine: cosine - 0.35)
    ),
"""
BY_HAND = """

def test_cosface_by_hand():
    arguments = {"num_classes": 2, "embedding_dim": 2, "scale": 8.0, "margin": 0.25}
    module = build("cosface", "reference", **arguments)
    module.load_state_dict({"weight": float64([[1, 0], [0, 1]])})
    (logits,) = module(float64([[3, 4]]), torch.tensor([0])).logits.tolist()
    assert logits == pytest.approx([8 * (0.6 - 0.25), 8 * 0.8])
"""
ASKED_FOR = {
    "test_costs.py::test_operations_are_those_of_an_algorithm_that_computes_the_loss[cosface]",
    "test_independent.py::test_something_independent_holds_every_loss[cosface]",
    "test_asv.py::test_the_lists_are_the_registry",
}
WHOLE = "test_admission or test_registry or test_layering or test_names or test_cases or lists_are"
BUILD = """
import lossbench
print(lossbench.build("cosface", num_classes=5, embedding_dim=4).choice)
"""
RENDER = """
import sys
from types import SimpleNamespace
sys.path.insert(0, "docs")
import conf
conf.write_pages(SimpleNamespace(srcdir="docs"))
"""


@pytest.fixture
def tree(tmp_path):
    return ScratchTree(tmp_path)


def put_lines_for_asv(tree, said):
    """Add the lines that the test of asv's lists asks for, where it says."""
    assert "in bench/suites/parameters.py put" in said
    lines = re.findall(r"^E +(EAGER|COMPILED): (.*)$", said, re.MULTILINE)
    assert lines
    parameters = tree.path / "bench/suites/parameters.py"
    for table, line in lines:
        text, opening = parameters.read_text(), "    {\n"
        start = text.index(opening, text.index(f"\n{table}: ")) + len(opening)
        former = rf"^{line.split(':')[0]}: \([^()]*\),\n"
        rest = re.sub(former, "", text[start:], count=1, flags=re.MULTILINE)
        parameters.write_text(f"{text[:start]}{line}\n{rest}")


def test_a_new_loss_is_one_reference_file_and_one_catalogue_entry(tree):
    catalogue = "impls/catalogue/classification.py"
    tree.write("reference/cosface.py", REFERENCE)
    tree.insert(catalogue, IMPORT, before="from lossbench.reference.margin import")
    text = (tree.path / catalogue).read_text()
    (tree.path / catalogue).write_text(text.removesuffix(")\n") + ENTRY + ")\n")

    failed, said = tree.failures("tests", "-k", f"cosface or {WHOLE}")
    assert failed == ASKED_FOR, said
    assert "in tests/impls/test_costs.py, give ALGORITHMS the entry 'cosface'" in said
    assert "cosface: nothing independent checks its reference; add a test of its paper's" in said
    put_lines_for_asv(tree, said)
    tree.insert("tests/impls/test_costs.py", COUNTED, after="ALGORITHMS = {\n")
    papers = tree.path / "tests/reference/test_papers.py"
    papers.write_text(papers.read_text() + BY_HAND)
    tests = ("impls/test_costs.py", "reference", "bench/suites/test_asv.py")
    kept = "cosface or lists or finds"
    assert tree.failures(*(f"tests/{name}" for name in tests), "-k", kept)[0] == set()

    assert "additive cosine margin" in tree.lossbench("list")
    assert "nobody has measured this loss" in tree.script(BUILD)
    tree.script(RENDER)
    page = (tree.path / "docs/catalogue.md").read_text()
    assert "\n## cosface\n\nAdditive cosine margin.\n" in page


def template():
    """Return the code of the contender in CONTRIBUTING.md, which docs/extending.md includes."""
    assert "{include} ../CONTRIBUTING.md" in (ROOT / "docs/extending.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return block


def test_a_new_implementation_is_one_file(tree):
    assert "`impls/vectorized/center_mine.py`" in PAGE
    tree.write("impls/vectorized/center_mine.py", template())
    chosen = "(center_mse and mine and not compile) or test_layering or test_names or lists_are"
    rooms = ("house", "impls", "bench/measure", "bench/suites")
    failed, said = tree.failures(*(f"tests/{room}" for room in rooms), "-k", chosen)
    assert failed == {"test_asv.py::test_the_lists_are_the_registry"}, said
    put_lines_for_asv(tree, said)
    assert tree.failures("tests/bench/suites/test_asv.py", "-k", "lists or finds")[0] == set()

    assert re.search(r"^center_mse: .*\n(  .*\n)*  .*mine", tree.lossbench("list"), re.MULTILINE)
    size = ("--batch", "8", "--dim", "4", "--classes", "5", "--budget", "0.05", "--processes", "1")
    runs = str(tree.path / "runs")
    said = tree.lossbench("run", "--loss", "center_mse", "--variant", "mine", *size, "--out", runs)
    assert re.search(r"^ *mine .*x", said, re.MULTILINE), said


@pytest.mark.usefixtures("own_registry")
def test_the_template_computes_its_loss():
    exec(template(), {"__name__": "template"})
    mine = impls.implementation("center_mse", "mine")
    mine.verify()
    for dtype in ("float32", "bfloat16", "float64"):
        case = Case("center_mse", batch=12, dim=8, classes=5, dtype=dtype)
        found = measure_agreement(case, mine)
        assert found
        assert all(part.passed for part in found)
    assert impls.implementation("center_mse", "mine+compile").loss.name == "center_mse"
