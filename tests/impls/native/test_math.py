"""exp and log of vectors are within 2 units in the last place of float64, over the whole range."""

import math

import pytest
import torch

pytestmark = pytest.mark.usefixtures("loaded")

DTYPES = (torch.float32, torch.float64)
COUNT = 200_001


def vectorised(values, *, logarithm):
    return torch.ops.lossbench_native.exp_or_log(values, logarithm)


def units(found, exact, dtype):
    """Return the largest error in units in the last place of ``exact``, in that dtype."""
    rounded = exact.to(dtype)
    above = torch.nextafter(rounded.abs(), torch.tensor(math.inf, dtype=dtype)).double()
    unit = above - rounded.abs().double()
    finite = rounded.isfinite()
    return float(((found.double() - exact).abs() / unit)[finite].max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_exact_to_two_units(dtype):
    low, high = (-104, 89) if dtype == torch.float32 else (-746, 710)
    values = torch.linspace(low, high, COUNT, dtype=dtype)
    near = torch.linspace(-1, 1, COUNT, dtype=dtype)
    for x in (values, near, near * 1e-4, near * 1e-9):
        found = vectorised(x, logarithm=False)
        assert units(found, x.double().exp(), dtype) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_exact_to_two_units(dtype):
    info = torch.finfo(dtype)
    ends = math.log(info.smallest_normal * info.eps * 2), math.log(info.max)
    values = torch.linspace(*ends, COUNT, dtype=torch.float64).exp().to(dtype)
    near_one = 1 + torch.linspace(-0.4, 0.4, COUNT, dtype=dtype)
    for x in (values, near_one):
        found = vectorised(x, logarithm=True)
        assert units(found, x.double().log(), dtype) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_limits_are_those_of_torch(dtype):
    x = torch.tensor([0.0, -0.0, 1, math.inf, -math.inf, math.nan, -1, 1e4, -1e4], dtype=dtype)
    for logarithm, exact in ((False, x.exp()), (True, x.log())):
        found = vectorised(x, logarithm=logarithm)
        unit = torch.finfo(dtype).eps
        torch.testing.assert_close(found, exact, rtol=2 * unit, atol=0, equal_nan=True)
