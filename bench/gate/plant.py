"""Regressions of known size, written into the source of a tree's copy."""

import inspect
from pathlib import Path
from typing import Literal

from lossbench import impls
from lossbench.bench.paths import ROOT

Effect = Literal["identical", "slower", "buffer"]

VARIANT = "fused"
SLOWER = 0.15
# The class's forward takes so much longer by spinning.
SPINNING = """

def _planted(forward):
    import time

    def run(*args, **kwargs):
        start = time.perf_counter()
        out = forward(*args, **kwargs)
        end = time.perf_counter()
        until = end + {share} * (end - start)
        while time.perf_counter() < until:
            pass
        return out

    return run


{name}.forward = _planted({name}.forward)
"""
# Its forward holds a [B, B] from its beginning to its end.
BUFFER = """

def _planted(forward):
    def run(self, *inputs, **named):
        rows = [*inputs, *named.values()][0]
        buffer = rows.new_empty(len(rows), len(rows))
        out = forward(self, *inputs, **named)
        del buffer
        return out

    return run


{name}.forward = _planted({name}.forward)
"""


def plantable() -> list[str]:
    """Return the losses whose fused variant is a class."""
    return [
        loss.name
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
        if implementation.variant == VARIANT and inspect.isclass(implementation.builder)
    ]


def source_of(loss: str) -> str:
    """Return the file of a Loss's fused variant, from the root of the repository."""
    source = inspect.getfile(impls.implementation(loss, VARIANT).builder)
    return str(Path(source).resolve().relative_to(ROOT))


def plant(file: Path, loss: str, effect: Effect, share: float = SLOWER) -> None:
    """Have the fused variant of a Loss do worse.

    Args:
        file: a copy of its source, to be edited.
        loss: which.
        effect: ``slower``, by a share of its forward; ``buffer``, by one of ``[B, B]``.
        share: how much slower.
    """
    template = SPINNING if effect == "slower" else BUFFER
    name = impls.implementation(loss, VARIANT).builder.__name__
    with file.open("a") as source:
        source.write(template.format(name=name, share=share))
