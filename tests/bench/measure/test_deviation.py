"""The distance of two tensors: relative, and in units in the last place."""

import math

import pytest
import torch

from lossbench.bench.measure.deviation import relative_error, ulp_error


@pytest.mark.parametrize(
    ("value", "exact", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0),
        ([0.0, 0.0], [3.0, 4.0], 1),
        ([0.5, 0.0], [0.0, 0.0], 0.5),
        ([math.nan, 4.0], [3.0, 4.0], math.inf),
        ([math.nan, 4.0], [math.nan, 4.0], 0),
        ([math.nan], [math.inf], math.inf),
        ([-math.inf], [math.inf], math.inf),
        ([1.0], [1.0, 1.0], math.inf),
    ],
)
def test_relative_error(value, exact, error):
    assert relative_error(torch.tensor(value), torch.tensor(exact)) == error


EPS, TINY = torch.finfo(torch.float32).eps, torch.finfo(torch.float32).tiny


@pytest.mark.parametrize(
    ("value", "exact", "dtype", "ulps"),
    [
        ([1.0, 3.0], [1.0, 3.0], torch.float32, 0),
        ([1.0 + EPS], [1.0], torch.float32, 1),
        ([1.0, 1.0 - EPS / 2], [1.0, 1.0], torch.float32, 0.5),
        ([-2.0 - 2 * EPS], [-2.0], torch.float32, 1),
        ([4.0], [3.0], torch.bfloat16, 64),
        ([4.0], [3.0], torch.float16, 512),
        ([3 * EPS * TINY], [0.0], torch.float32, 3),
        ([TINY / 2], [TINY / 4], torch.float32, 1 / (4 * EPS)),
        ([], [], torch.float32, 0),
        ([math.nan, 1.0], [1.0, 1.0], torch.float32, math.inf),
        ([math.inf, 1.0], [math.inf, 1.0], torch.float32, 0),
        ([1.0], [1.0, 1.0], torch.float32, math.inf),
    ],
)
def test_ulp_error(value, exact, dtype, ulps):
    value, exact = (torch.tensor(x, dtype=torch.float64) for x in (value, exact))
    assert ulp_error(value, exact, dtype) == ulps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 0.0, "least", "largest"])
def test_the_next_number_is_an_ulp_away(dtype, scale):
    info = torch.finfo(dtype)
    scale = {"least": info.tiny, "largest": info.max / 8}.get(scale, scale)
    x = (torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=dtype) * scale).to(
        dtype
    )
    following = torch.nextafter(x, torch.full_like(x, torch.inf))
    assert ulp_error(following, x, dtype) == 1
    assert ulp_error(-following, -x, dtype) == 1
