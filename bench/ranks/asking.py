"""Check what a user asks of several ranks, before any of them starts."""

from lossbench import impls
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.quotas import allowed_processors, default_threads

# Beyond this the ranks mostly wait for a processor.
MOST_RANKS_A_PROCESSOR = 4


def sharded_losses() -> tuple[str, ...]:
    """Return the names of the losses that several ranks can compute together."""
    return tuple(
        loss.name
        for loss in impls.losses()
        if any(each.joins_batches for each in impls.implementations(loss.name))
    )


def check_ranks(ranks: int, losses: tuple[str, ...], device: str) -> tuple[str, ...]:
    """Return the losses to measure: those named, or by default all that can be.

    Raises:
        UsageError: if the ranks are too many for this machine, a named loss has no sharded variant,
            or the device is not the CPU.
    """
    processors = len(allowed_processors())
    if ranks > MOST_RANKS_A_PROCESSOR * processors:
        raise UsageError(
            f"--ranks: expected at most {MOST_RANKS_A_PROCESSOR * processors} here, "
            f"{MOST_RANKS_A_PROCESSOR} a processor, got {ranks}; `lossbench ranks` predicts more"
        )
    if device != "cpu":
        raise UsageError(f"--ranks measures on the CPU: expected --device cpu, got {device}")
    able = sharded_losses()
    unable = [name for name in losses if name not in able]
    if unable:
        raise UsageError(
            f"--ranks: {', '.join(unable)} has no sharded variant; expected of: {', '.join(able)}"
        )
    return losses or able


def refuse_beside_ranks(*, compiled: bool | None, graphs: bool, on: str) -> None:
    """Refuse options that make no sense for several ranks.

    Raises:
        UsageError: if one is given.
    """
    given = {"--compiled": compiled, "--graphs": graphs, "--on": on}
    for name, value in given.items():
        if value:
            raise UsageError(f"--ranks cannot be combined with {name}")


def threads_of_rank(ranks: int, affinity: tuple[int, ...]) -> int:
    """Return the number of threads of each rank: its share of the processors, at least 1."""
    return max(1, (len(affinity) or default_threads()) // ranks)
