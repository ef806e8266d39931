"""Make contenders from outside lossbench; the registry forgets them after the test."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from lossbench.impls import outside, registry

MINE = """
import lossbench
from lossbench.impls.vectorized.margin import ArcFace


@lossbench.register("arcface", "mine")
class Mine(ArcFace):
    pass
"""

_LOSSES = dict(registry._losses)
_VARIANTS = {name: dict(variants) for name, variants in registry._implementations.items()}


def write_contender(folder: Path, name: str = "mine.py", code: str = MINE) -> Path:
    """Write a file that registers a contender, in a folder with a space in its name."""
    place = folder / "my dir"
    place.mkdir(exist_ok=True)
    file = place / name
    file.write_text(code)
    return file


def install(folder: Path, name: str, points: dict[str, str]) -> None:
    """Declare a distribution's entry points in a folder, as an installed one does."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = [f"{point} = {module}" for point, module in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{outside.GROUPS[1]}]", *lines]) + "\n")


@contextmanager
def registry_kept():
    """Have the registry know nothing from outside at first, and give it back as it was."""
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_losses", dict(_LOSSES))
        variants = {name: dict(own) for name, own in _VARIANTS.items()}
        patch.setattr(registry, "_implementations", variants)
        patch.setattr(outside, "_loaded", {})
        patch.setattr(outside, "_origins", {})
        patch.setattr(outside, "_imported_along", set())
        patch.setattr(sys, "path", sys.path[:])
        yield
    for name in set(sys.modules) - modules:
        if name.startswith(("outside_", "acme")):
            del sys.modules[name]
