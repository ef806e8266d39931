"""Ceilings are positive and plausible, and a limit is the longest of three times."""

import pickle
from dataclasses import replace
from pathlib import Path

import pydantic
import pytest
import torch

import lossbench.bench.measure.ceilings as ceilings
from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.ceilings import Ceilings, Limit, limit, measure_ceilings

CASE = Case("center_mse", batch=10, dim=3, classes=4)
# A step takes 5BD FLOPs and 3BD + 2UD + CD elements; a batch of 10 has U = 3 distinct labels.
FLOPS, STEP_BYTES = 150, 4 * (90 + 18 + 12)


@pytest.fixture
def small(monkeypatch):
    """Copy and multiply little, for tests in which the figures do not matter."""
    monkeypatch.setattr(ceilings, "COPY_BYTES", 2**20)
    monkeypatch.setattr(ceilings, "LARGEST_PRODUCT", 256)


def made(rate=1.0, bandwidth=1.0, seconds=1.0):
    return Ceilings({"float32": rate}, bandwidth, {"forward": seconds / 2, "step": seconds})


@pytest.mark.usefixtures("small")
def test_ceilings_are_those_of_the_dtypes_asked_for():
    found = measure_ceilings("cpu", ("float32", "float64"))
    assert list(found.flops_per_second) == ["float32", "float64"]
    assert set(found.call_seconds) == {"forward", "step"}
    figures = [*found.flops_per_second.values(), *found.call_seconds.values()]
    assert all(0 < figure < float("inf") for figure in (*figures, found.bytes_per_second))
    # A register has twice as many float32 numbers, so even with noise float64 is not much faster.
    assert found.flops_per_second["float64"] < 4 * found.flops_per_second["float32"]
    assert not measure_ceilings("cpu", ()).flops_per_second


@pytest.mark.usefixtures("small")
def test_measuring_leaves_the_random_numbers_of_others_alone():
    before = torch.get_rng_state()
    measure_ceilings("cpu", ("float32",))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_fastest_block_counts(monkeypatch):
    class Clock:
        blocks = iter([8.0, 4.0, 6.0, 8.0, 9.0])

        def block_seconds(self, calls):
            assert calls == 2
            return next(self.blocks)

    monkeypatch.setattr(ceilings, "clock", lambda *_: Clock())
    monkeypatch.setattr(ceilings, "calls_a_block", lambda _: 2)
    assert ceilings._fastest(lambda: None, "cpu") == 2


def test_a_product_grows_until_it_takes_long_enough(monkeypatch):
    sizes = []

    def seconds(_device, _dtype, size):
        sizes.append(size)
        return {256: 1e-3, 512: 4e-3, 1024: 64e-3}[size]

    monkeypatch.setattr(ceilings, "_product_seconds", seconds)
    found = ceilings._flops_per_second("cpu", torch.float32)
    assert sizes == [256, 512, 1024]
    assert found == 2 * 512**3 / 4e-3


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_both_libraries_multiply_in_float32_and_the_faster_counts(monkeypatch):
    monkeypatch.setattr(ceilings, "_fastest", lambda call, _: call().sum().item() * 0 + next(times))
    times = iter([3.0, 2.0])
    assert ceilings._product_seconds("cpu", torch.float32, 8) == 2
    times = iter([3.0])
    assert ceilings._product_seconds("cpu", torch.float64, 8) == 3


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_the_product_of_onednn_is_the_matrix_product():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    torch.testing.assert_close(ceilings._onednn_product(a, b), a @ b)


def test_no_helper_of_a_contender_is_measured():
    """A fault in a contender's helper would change the limit that it is compared with."""
    origins = {getattr(value, "__module__", "") for value in vars(ceilings).values()}
    assert not [name for name in origins if str(name).startswith("lossbench.impls")]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (made(rate=2, bandwidth=1e9, seconds=1e-9), Limit(FLOPS / 2, "arithmetic")),
        (made(rate=1e9, bandwidth=5, seconds=1e-9), Limit(STEP_BYTES / 5, "bytes")),
        (made(rate=1e9, bandwidth=1e9, seconds=7), Limit(7, "overhead")),
    ],
)
def test_the_longest_of_three_times_bounds(machine, expected):
    assert limit(CASE, "step", machine) == expected


def test_a_forward_pass_has_a_limit_of_its_own():
    assert limit(CASE, "forward", made(seconds=1e3)) == Limit(500, "overhead")
    assert limit(CASE, "forward", made(seconds=0, rate=1e9)) == Limit(4 * (30 + 9), "bytes")


def test_a_wider_dtype_moves_more_bytes_at_a_rate_of_its_own():
    machine = Ceilings({"float64": 3, "bfloat16": 3}, 1, {"forward": 0, "step": 0})
    assert limit(replace(CASE, dtype="float64"), "step", machine).seconds == 2 * STEP_BYTES
    assert limit(replace(CASE, dtype="bfloat16"), "step", machine).seconds == STEP_BYTES / 2
    lowered = replace(CASE, dtype="bfloat16", autocast=True)
    assert limit(lowered, "step", machine).seconds == STEP_BYTES


def test_products_in_a_slow_dtype_are_computed_in_a_wider_one():
    rates = {"float64": 2, "float32": 5, "float16": 3, "bfloat16": 9}
    machine = Ceilings(rates, 1e9, {"forward": 0, "step": 0})
    seconds = {dtype: limit(replace(CASE, dtype=dtype), "step", machine).seconds for dtype in rates}
    assert seconds == {
        "float64": FLOPS / 2,
        "float32": FLOPS / 5,
        "float16": FLOPS / 5,
        "bfloat16": FLOPS / 9,
    }


@pytest.mark.skipif(not Path("/sys/devices/system/cpu/cpu0/cache").exists(), reason="not Linux")
def test_the_largest_cache_is_known_on_linux():
    assert 2**14 < ceilings._cache_bytes("cpu") < 2**34


def test_what_was_measured_on_a_gpu_is_read_without_one():
    assert limit(replace(CASE, device="cuda"), "step", made()) == limit(CASE, "step", made())


def test_a_dtype_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match="expected the ceiling of float64, got those of float32"):
        limit(replace(CASE, dtype="float64"), "step", made())


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_every_loss_has_a_limit(loss):
    case = Case(loss, batch=16, dim=8, classes=5)
    forward, step = (limit(case, phase, made(seconds=0)) for phase in ("forward", "step"))
    assert 0 < forward.seconds < step.seconds


def test_ceilings_survive_a_process_and_a_file():
    adapter = pydantic.TypeAdapter(Ceilings)
    assert pickle.loads(pickle.dumps(made())) == made()
    assert adapter.validate_json(adapter.dump_json(made())) == made()
