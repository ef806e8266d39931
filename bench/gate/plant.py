"""Plant a regression of known size in the source of a copied tree."""

import inspect
from pathlib import Path
from typing import Literal

from lossbench import impls
from lossbench.bench.paths import ROOT

Effect = Literal["identical", "slower", "buffer"]

VARIANT = "fused"
SLOWER = 0.15
# Makes the forward of a class spin after each call for a share of the call's time.
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
# Makes the forward of a class keep a [B, B] buffer from its start to its end.
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
    """Return the names of the losses with a fused variant that is a class."""
    return [
        loss.name
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
        if implementation.variant == VARIANT and inspect.isclass(implementation.builder)
    ]


def source_of(loss: str) -> str:
    """Return the file of a Loss's fused variant, relative to the root of the repository."""
    source = inspect.getfile(impls.implementation(loss, VARIANT).builder)
    return str(Path(source).resolve().relative_to(ROOT))


def plant(file: Path, loss: str, effect: Effect, share: float = SLOWER) -> None:
    """Make the fused variant of a Loss slower, or make it use more memory.

    Args:
        file: copy of the variant's source; it is edited.
        loss: name of the Loss.
        effect: ``slower`` for a slower forward; ``buffer`` for an additional ``[B, B]`` buffer.
        share: slowdown of the forward, as a share of its time.
    """
    template = SPINNING if effect == "slower" else BUFFER
    name = impls.implementation(loss, VARIANT).builder.__name__
    with file.open("a") as source:
        source.write(template.format(name=name, share=share))
