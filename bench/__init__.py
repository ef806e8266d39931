"""The harness: cases, agreement, memory, interleaved times, records, and the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.frame import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Return ``load``, imported when it is asked for.

    asv imports this package beside the ``impls`` of older commits, which lack what a frame needs.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench.frame import load

    return load
