"""The compiled variants: derived by the registry, and compared with the same reference."""

import copy

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.measure.agreement import measure_agreement
from lossbench.bench.measure.compilation import measure_compilation
from lossbench.bench.measure.conformance import measure_conformance
from lossbench.bench.measure.degenerate import DEGENERATE
from lossbench.impls.compiled import COMPILE_MODES, compiled, eager_of, is_compiled
from tests.conftest import name_of

COMPILED = [
    implementation
    for loss in impls.losses()
    for implementation in impls.implementations(loss.name)
    if implementation.compiled and not implementation.unsupported("cpu", torch.float32)
]
# One loss for each way to build one; the others take minutes, and run with -m slow.
QUICK = {
    "sphereface-vectorized+compile",
    "center_all_pairs-vectorized+compile",
    "triplet_batch_hard-vectorized+compile",
    "contrastive-vectorized+compile[max-autotune]",
    "contrastive-fused+compile",
}


def case_of(implementation, **sizes):
    return Case(implementation.loss.name, **{"batch": 12, "dim": 8, "classes": 5, **sizes})


@pytest.fixture(autouse=True)
def _no_code_of_other_tests():
    torch.compiler.reset()


CASES = [
    pytest.param(implementation, id=name, marks=() if name in QUICK else pytest.mark.slow)
    for implementation in COMPILED
    for name in [name_of(implementation)]
]


@pytest.mark.parametrize("implementation", CASES)
def test_agrees_in_one_graph_and_serves_other_batches_with_one_more(implementation):
    case = case_of(implementation)
    done = measure_compilation(case, implementation.variant)
    assert (done.graphs, done.graph_breaks) == (1, 0)
    assert done.sweep == (11, 6, 24)
    assert done.recompiles <= 1
    assert done.compile_seconds > 0
    for checked in (case, case_of(implementation, batch=11)):
        failures = [str(a) for a in measure_agreement(checked, implementation) if not a.passed]
        assert not failures


def compiled_of_each_loss():
    """Return one compiled variant of each Loss that has one, ``fused+compile`` if there is."""
    for loss in impls.losses():
        variants = {i.variant: i for i in COMPILED if i.loss is loss}
        if variants:
            yield variants.get("fused+compile") or next(iter(variants.values()))


EACH_LOSS = list(compiled_of_each_loss())


@pytest.mark.parametrize("implementation", EACH_LOSS, ids=name_of)
def test_one_of_each_loss_agrees(implementation):
    # From twelve samples on the compiler vectorises, where its faults were; one size is one graph.
    failures = [str(a) for a in measure_agreement(case_of(implementation), implementation)
                if not a.passed]  # fmt: skip
    assert not failures


# The compiler sums in another order, and fused code may hide a NaN.
@pytest.mark.slow
@pytest.mark.parametrize(
    "implementation",
    [i for i in COMPILED if i.variant in ("vectorized+compile", "fused+compile")],
    ids=name_of,
)
def test_ours_are_never_worse_than_the_reference(implementation):
    found = measure_conformance(implementation.loss.name, implementation.variant, "cpu")
    assert [part.input for part in found] == list(DEGENERATE)
    assert [f"{part.input}: {part.reason}" for part in found if part.grade == "worse"] == []


def test_each_that_compiles_has_a_variant_a_mode():
    for loss in impls.losses():
        variants = {i.variant: i for i in impls.implementations(loss.name)}
        for name, implementation in variants.items():
            if implementation.mode:
                eager, suffix = name.split("+")
                assert COMPILE_MODES["+" + suffix][0] == implementation.mode
                assert {eager + other for other in COMPILE_MODES} <= variants.keys()


def test_reduce_overhead_is_for_cuda():
    implementation = impls.implementation("arcface", "vectorized+compile[reduce-overhead]")
    assert implementation.unsupported("cpu", torch.float32) == "runs on cuda, not on cpu"


def test_a_machine_without_a_compiler_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    reason = impls.implementation("arcface", "vectorized+compile").unsupported("cpu", torch.float32)
    assert reason == "torch.compile needs a C++ compiler on the CPU, and finds none"


def test_keeps_names_hooks_and_independence_of_its_copies():
    implementation = impls.implementation("center_mse", "vectorized+compile")
    workload = Workload.of(case_of(implementation))
    module = workload.module(implementation, validate=True)
    assert list(module.state_dict()) == ["centers"]
    with pytest.raises(ValueError, match="labels must be"):
        module(workload.inputs[0]["embeddings"], torch.zeros(3))
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.centers.zero_()
    expected = workload.inputs[0]["embeddings"].square().mean()
    torch.testing.assert_close(twin(**workload.inputs[0]).loss, expected)
    assert not torch.equal(module(**workload.inputs[0]).loss, expected)


def test_a_name_tells_what_is_compiled_and_from_what():
    for loss in impls.losses():
        for implementation in impls.implementations(loss.name):
            assert implementation.compiled == bool(implementation.mode)
            assert is_compiled(eager_of(implementation.variant)) is False
    assert eager_of("vectorized+compile[max-autotune]") == "vectorized"
    assert eager_of("vectorized") == "vectorized"


class _Sum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        return (x * self.weight).sum()


def test_the_compiler_counts_each_class_by_itself():
    kinds = [type(f"Sum{number}", (_Sum,), {}) for number in range(3)]
    with torch._dynamo.config.patch(recompile_limit=2):
        for kind in kinds:
            assert compiled(kind, "default")()(torch.ones(3)) == 3
