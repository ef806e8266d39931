"""Every kernel compiled for GPUs that are not here, and what the compiler made of it."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.paths import ROOT
from tests.impls.triton.inputs import inputs_of

pytest.importorskip("triton", reason="needs the package triton")
pytestmark = pytest.mark.triton

# A loss of each family of kernels, and those of sums alone, without a product.
SUMS = ("center_mse", "island", "contrastive", "contrastive_whole_batch")
FAMILIES = (
    *("arcface", "triplet_batch_hard", "triplet_weighted_unshifted"),
    *("center_all_pairs", "pairwise_distance", *SUMS),
)
SIZES = {"batch": 256, "dim": 512, "classes": 1024}
FLOATS = [("float32", 80), ("float32", 90), ("float32", 100)]
TARGETS = [*FLOATS, ("bfloat16", 80), ("bfloat16", 90), ("bfloat16", 100)]


def launches_of(loss, dtype):
    """Return the launches of a step, of which none is run."""
    from lossbench.impls.triton.kernels.launching import recorded

    sizes = {"num_classes": SIZES["classes"], "embedding_dim": SIZES["dim"]}
    arguments = sizes if impls.loss(loss).has_classes else {}
    module = impls.implementation(loss, "triton").build(validate=False, **arguments).to(dtype)
    x = torch.zeros(SIZES["batch"], SIZES["dim"], dtype=dtype, requires_grad=True)
    labels = torch.zeros(SIZES["batch"], dtype=torch.int64)
    with recorded() as launches:
        module(*inputs_of(loss, x, labels))[0].sum().backward()
    # A kernel of every block of classes is launched several times.
    return list({launch.kernel.__name__: launch for launch in launches}.values())


def multiplies(launch):
    """Return whether a kernel has a product of matrices: only such are tuned."""
    return len(launch.configs) > 1


@pytest.mark.parametrize("loss", FAMILIES)
@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
def test_the_default_configuration_fits_the_chip(loss, dtype, capability):
    from lossbench.impls.triton.kernels.ahead import SHARED_BYTES, compile_ahead

    launches = launches_of(loss, getattr(torch, dtype))
    assert any(multiplies(launch) for launch in launches) == (loss not in SUMS)
    for launch in launches:
        made = compile_ahead(launch, capability)
        assert made.stack_bytes == 0, made
        assert made.shared_bytes <= SHARED_BYTES[capability], made
        assert (made.matrix_instructions > 0) == multiplies(launch), made


@pytest.mark.slow
@pytest.mark.parametrize("loss", FAMILIES)
@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
def test_every_configuration_compiles(loss, dtype, capability):
    from lossbench.impls.triton.kernels.ahead import compile_ahead

    for launch in launches_of(loss, getattr(torch, dtype)):
        for config in launch.configs:
            assert compile_ahead(launch, capability, config).registers > 0


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
