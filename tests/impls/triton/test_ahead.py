"""Every kernel compiled for GPUs that are not here, and what the compiler made of it."""

import subprocess
import sys
from dataclasses import replace
from itertools import product

import pytest
import torch

from lossbench import impls
from lossbench.bench.measure.kernels import has_kernels, specialization
from lossbench.bench.paths import ROOT
from lossbench.bench.show.kernels import KINDS
from tests.impls.triton.inputs import inputs_of

triton = pytest.importorskip("triton", reason="needs the package triton")
pytestmark = pytest.mark.triton

# A loss of each family of kernels; the others launch the same ones, with other constants.
SUMS = ("center_mse", "island", "contrastive", "contrastive_whole_batch")
FAMILIES = (
    *("arcface", "triplet_batch_hard", "triplet_weighted_unshifted"),
    *("center_all_pairs", "pairwise_distance", *SUMS),
)
# The kernels of these have no product of matrices.
WITHOUT_PRODUCTS = (*SUMS, "center", "vector_distance")
DTYPES = ("float32", "bfloat16", "float16")
TARGETS = list(product(DTYPES, (80, 90, 100), KINDS))
FIRST = [
    (dtype, capability, kind)
    for dtype, capability, kind in TARGETS
    if dtype != "float16" and (kind == "even" or capability == 90)
]
# What a kernel spills is a matter of the compiler: other versions spill a little.
COUNTS_SPILLS = triton.__version__.startswith("3.9.")
# Odd sizes on the other chips: the losses whose kernels need the most registers, in float32.
ODD = tuple(
    (loss, "float32", capability, "odd")
    for loss in ("arcface", "triplet_weighted", "pairwise_distance")
    for capability in (80, 90, 100)
)
ALL = [
    pytest.param(
        *(loss.name, each.variant, *target),
        marks=()
        if each.variant == "triton"
        and ((loss.name in FAMILIES and target in FIRST) or (loss.name, *target) in ODD)
        else pytest.mark.slow,
    )
    for loss in impls.losses()
    for each in impls.implementations(loss.name)
    if has_kernels(each)
    for target in TARGETS
]


def launches_of(loss, dtype, kind="even", variant="triton", **changes):
    """Return the launches of a step, of which none is run; changes are of the kind's sizes."""
    from lossbench.impls.triton.kernels.launching import recorded

    sizes = {**KINDS[kind], **changes}
    arguments = {"num_classes": sizes["classes"], "embedding_dim": sizes["dim"]}
    module = impls.implementation(loss, variant).build(
        validate=False, **(arguments if impls.loss(loss).has_classes else {})
    )
    x = torch.zeros(sizes["batch"], sizes["dim"], dtype=dtype, requires_grad=True)
    labels = torch.zeros(sizes["batch"], dtype=torch.int64)
    with recorded() as launches:
        module.to(dtype)(*inputs_of(loss, x, labels))[0].sum().backward()
    # A kernel of every block of classes is launched several times, with the same code.
    return list({specialization(launch): launch for launch in launches}.values())


def multiplies(launch):
    """Return whether a kernel has a product of matrices: only such are tuned."""
    return len(launch.configs) > 1


@pytest.mark.parametrize(("loss", "variant", "dtype", "capability", "kind"), ALL)
def test_the_default_configuration_fits_the_chip(loss, variant, dtype, capability, kind):
    from lossbench.impls.triton.kernels.ahead import SHARED_BYTES, compile_ahead

    launches = launches_of(loss, getattr(torch, dtype), kind, variant)
    assert any(multiplies(launch) for launch in launches) == (loss not in WITHOUT_PRODUCTS)
    for launch in launches:
        made = compile_ahead(launch, capability)
        assert made.stack_bytes == 0 or not COUNTS_SPILLS, made
        assert made.shared_bytes <= SHARED_BYTES[capability], made
        assert (made.matrix_instructions > 0) == multiplies(launch), made


@pytest.mark.slow
@pytest.mark.parametrize("size", KINDS["odd"])
@pytest.mark.parametrize("loss", [*FAMILIES, "triplet_weighted"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_a_single_odd_size_spills_nothing(size, loss, dtype, capability):
    from lossbench.impls.triton.kernels.ahead import compile_ahead

    for launch in launches_of(loss, getattr(torch, dtype), **{size: KINDS["odd"][size]}):
        made = compile_ahead(launch, capability)
        assert made.stack_bytes == 0, made


@pytest.mark.slow
@pytest.mark.parametrize("loss", FAMILIES)
@pytest.mark.parametrize(("dtype", "capability", "kind"), TARGETS)
def test_every_configuration_compiles(loss, dtype, capability, kind):
    from lossbench.impls.triton.kernels.ahead import compile_ahead

    for launch in launches_of(loss, getattr(torch, dtype), kind):
        for config in launch.configs:
            assert compile_ahead(launch, capability, config).registers > 0


def test_the_kernels_of_a_shard_fit_the_chip():
    from lossbench.impls.families import family
    from lossbench.impls.triton.kernels.ahead import compile_ahead
    from lossbench.impls.triton.kernels.launching import recorded

    rows, weight = torch.zeros(32, 16, requires_grad=True), torch.zeros(16, 64)
    places, shares = torch.full((32,), -1), torch.zeros(64)
    with recorded() as launches:
        logs, _ = family("triton").shard_sums(rows, weight, places, "unit", shares)
        logs.sum().backward()
    names = [launch.kernel.__name__ for launch in launches]
    assert {"sum_classes", "finish_sums", "derive_scores", "add_to_rows"} <= set(names)
    # The others are those of a whole head.
    made = compile_ahead(launches[names.index("finish_sums")], 90)
    assert made.registers > 0 == made.stack_bytes


def test_an_odd_size_of_the_key_has_the_default_of_odd_sizes():
    by_kind = {kind: launches_of("pairwise_distance", torch.float32, kind) for kind in KINDS}
    for kind, launches in by_kind.items():
        for launch in filter(multiplies, launches):
            small = [launch.default(chip).kwargs["BLOCK_K"] == 16 for chip in (90, 100)]
            assert small == [kind == "odd"] * 2


def test_sizes_that_are_cut_down_stay_of_their_kind():
    from lossbench.bench.case.cases import Case
    from lossbench.bench.measure.kernels import cut_down

    found = [cut_down(Case("arcface", 65_537, 512, classes)) for classes in (7, 100_000, 10_001)]
    assert [(case.batch % 16, case.classes % 16) for case in found] == [(1, 7), (1, 0), (1, 1)]
    assert all(case.batch < 300 and case.classes < 5000 for case in found)


def test_products_of_whole_float32_take_no_matrix_instruction():
    from lossbench.impls.triton.kernels.ahead import compile_ahead

    launches = launches_of("triplet_batch_hard", torch.float32)
    (mining,) = (launch for launch in launches if multiplies(launch))
    exact = replace(mining, arguments={**mining.arguments, "PRECISION": "ieee"})
    assert compile_ahead(exact, 90).matrix_instructions == 0


def test_the_configurations_that_a_step_has_are_told(monkeypatch):
    from lossbench.bench.measure.kernels import chosen_configurations
    from lossbench.impls.triton.kernels.mining import mine

    variant = impls.implementation("triplet_batch_hard", "triton")
    # An earlier step chose another.
    monkeypatch.setattr(mine, "best_config", mine.configs[0], raising=False)
    chosen = chosen_configurations(variant, lambda: setattr(mine, "best_config", mine.configs[1]))
    assert chosen == {"mine": mine.configs[1].all_kwargs()}
    fused = impls.implementation("triplet_batch_hard", "fused")
    assert chosen_configurations(fused, lambda: pytest.fail("no step is needed")) == {}


def test_the_kernels_of_a_case_are_counted_whatever_its_size():
    from lossbench.bench.case.cases import Case
    from lossbench.bench.measure.kernels import measure_kernels

    case = Case("triplet_batch_hard", 65_536, 512, 1000, "bfloat16", "cuda")
    found = measure_kernels(case, impls.implementation(case.loss, "triton"))
    assert {kernel.capability for kernel in found} == {90}
    (mining,) = (kernel for kernel in found if kernel.matrix_instructions)
    assert mining.name == "mine"
    assert mining.shared_bytes > 0
    fused = impls.implementation(case.loss, "fused+compile")
    assert measure_kernels(case, fused) == ()


def test_the_registry_imports_no_triton():
    code = "import sys, lossbench; lossbench.losses(); print('triton' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr
