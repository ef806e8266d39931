"""Tell which results the next call overwrites: they are compared, or copied, at once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossbench.impls.variant import Implementation


def is_overwritten(implementation: "Implementation", device: str) -> bool:
    """Return whether the results of a variant live in memory that its next call overwrites.

    Args:
        implementation: the variant; that of an older commit has no modes.
        device: device type, ``cpu`` or ``cuda``.
    """
    mode = getattr(implementation, "mode", "")
    if not mode:
        return False
    # Older commits have no such module.
    from lossbench.impls.compiled import overwrites_results

    return overwrites_results(mode, device)
