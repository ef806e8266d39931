"""The wheel of a platform holds the operators, and runs them without a compiler."""

import pytest

from lossbench.impls.native.build import LIBRARY
from tests.makers.installed import Installation
from tests.makers.wheels import build_platform_wheel

STEP = """
import torch, lossbench
from lossbench.impls.native import build
assert build.compiler() is None
loss = lossbench.build("arcface", "native", num_classes=10, embedding_dim=4)
x = torch.randn(3, 4, requires_grad=True)
loss(embeddings=x, labels=torch.tensor([0, 1, 9])).loss.backward()
assert x.grad.abs().sum() > 0
print(build.library())
"""


@pytest.mark.usefixtures("loaded")
def test_it_runs_without_a_compiler(tmp_path):
    wheel = build_platform_wheel(tmp_path)
    assert "-py3-none-" in wheel.name
    assert "-any" not in wheel.name
    user = Installation.make(tmp_path / "environment", wheel)
    cache = tmp_path / "cache"
    done = user.run(
        tmp_path, "python", "-c", STEP, PATH="/no/tools", LOSSBENCH_CACHE=str(cache), CXX=""
    )
    library = user.packages / "lossbench" / "impls" / "native" / LIBRARY
    assert done.stdout == f"{library}\n", done.stderr
    assert not cache.exists()
