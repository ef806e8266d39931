"""All contenders of the self-test, and the publicly known cheats that they try."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lossbench import impls
from lossbench.bench.run.records import Status
from lossbench.bench.selftest.cheaters import CHEATED_LOSSES, CHEATS, detached, honest, moving
from lossbench.bench.selftest.contender import Contender, Kind, around_reference
from lossbench.bench.selftest.harmful import HARMS
from lossbench.bench.selftest.honest import HONEST
from lossbench.bench.selftest.judged_cheaters import JUDGED_CHEATS
from lossbench.bench.selftest.public_cheaters import (
    burning,
    falling_back,
    forward_only,
    from_reference,
    other_stream,
    small_only,
    uninitialized,
)
from lossbench.bench.selftest.state_changers import CLOCKS, DRAWS, FUNCTIONS, SETTINGS, leaving
from lossbench.bench.selftest.timed_cheaters import TIMED_CHEATS, TIMED_LOSS, later
from lossbench.impls.registry import register

MAIN_LOSS = "center_mse"
# A contender that raises an error while it is timed makes the harness time all others of its loss
# again, each alone. So these have a loss of their own.
RAISING_LOSS = "normface"
RAISING = ("no graph",)
# Where few are timed together, each gets many calls.
PATIENT = ("honest for 400 calls",)
NO_STATE = ("triplet_batch_hard",)

PUBLIC_CHEATS: dict[str, tuple[str, ...]] = {
    "work on another stream than the timed one": ("other stream",),
    "background threads": ("unfinished output", "thread that works on", "thread that never ends"),
    "lazy tensor subclasses": ("lazy tensor",),
    "patched clocks": tuple(CLOCKS),
    "lower precision than asked": ("lower precision",),
    "honest while checked, cheating when timed": (
        "honest for 40 calls",
        "honest for 400 calls",
        "honest at every third call",
        "idle if the clock calls",
    ),
    "results cached by address, identity or content": (
        "remembers by identity",
        "remembers by address",
        "remembers by some labels",
    ),
    "memory that nobody wrote": ("uninitialized output",),
    "stale or aliased output buffers": ("overwritten output", "memory of a parameter"),
    "the reference's result reused": ("reference's result",),
    "changed inputs": ("input mutated", "input changed"),
    "half of the work": ("result from a smaller batch", "half of the batch"),
    "falling back to the reference in an except": ("falls back to the reference",),
    "specialised for the check's shapes, labels or upstream gradient": tuple(JUDGED_CHEATS),
    "forward-only comparison": ("gradients left out",),
    "trivial sizes": ("right for trivial sizes",),
}
"""The publicly known cheats, with the names of the contenders that try each."""


QUICK = frozenset(
    {
        "none, an honest copy",
        "zeros",
        "anomaly mode",
        "time.perf_counter",
        "exit code 0",
        "error that cannot be encoded",
        "honest for 40 calls",
        "other stream",
        "lazy tensor",
        "uninitialized output",
        "honest, keeps a workspace",
    }
)
"""The contenders of a quick self-test: at least one of each kind, and no slow one."""


def contenders(device: str) -> tuple[Contender, ...]:
    """Return the contenders that can be tried on a device, those of one loss together."""
    found = [replace(each, quick=each.name in QUICK) for each in _all() if device in each.devices]
    losses = dict.fromkeys(each.loss for each in found)
    return tuple(each for loss in losses for each in found if each.loss == loss)


def enter(cells: Iterable[tuple[str, str]], device: str) -> None:
    """Register some contenders as implementations, each given by its loss and variant."""
    wanted = set(cells)
    for each in contenders(device):
        if each.cell in wanted:
            register(each.loss, each.variant)(around_reference(each.loss, each.cheat))


def public_cheat(name: str) -> str:
    """Return the publicly known cheat that a contender tries; empty for any other contender."""
    return next((cheat for cheat, names in PUBLIC_CHEATS.items() if name in names), "")


def _all() -> Iterator[Contender]:
    yield from _wrong()
    yield from _changing()
    yield from _harming()
    yield from _irregular()
    yield from _timed()
    for name, cheat in HONEST.items():
        yield Contender(name, "honest", TIMED_LOSS, cheat, "passed")


def _wrong() -> Iterator[Contender]:
    for loss in CHEATED_LOSSES:
        for name, (cheat, reason) in CHEATS.items():
            if cheat is honest:
                yield Contender(name, "honest", loss, cheat, "passed")
            elif not (cheat is moving and loss in NO_STATE):
                status: Status = "failed" if cheat is detached else "refused"
                yield Contender(name, "wrong results", loss, cheat, status, reason)
    gradient = r"grad\.embeddings is off"
    yield Contender("gradients left out", "wrong results", MAIN_LOSS, forward_only, reason=gradient)
    yield Contender(
        "right for trivial sizes", "wrong results", MAIN_LOSS, small_only, reason=gradient
    )
    yield Contender("falls back to the reference", "honest", MAIN_LOSS, falling_back, "passed")


def _changing() -> Iterator[Contender]:
    for name, (change, told) in {**SETTINGS, **CLOCKS, **FUNCTIONS}.items():
        reason = f"it changed .*{told}"
        yield Contender(name, "changes the process", MAIN_LOSS, leaving(change), reason=reason)
    yield Contender(
        "reference's result",
        "changes the process",
        MAIN_LOSS,
        from_reference,
        reason=r"it changed .*the function lossbench\.reference\.",
    )
    for name, (draw, told) in DRAWS.items():
        yield Contender(name, "changes the process", RAISING_LOSS, leaving(draw), reason=told)


def _harming() -> Iterator[Contender]:
    for name, (cheat, status, reason) in HARMS.items():
        yield Contender(name, "harms its worker", MAIN_LOSS, cheat, status, reason)


def _irregular() -> Iterator[Contender]:
    for name, entry in JUDGED_CHEATS.items():
        for loss in entry.losses:
            yield Contender(
                name, "wrong on irregular batches", loss, entry.cheat, reason=entry.expected
            )


def _timed() -> Iterator[Contender]:
    kind: Kind = "cheats when timed"
    for name, (cheat, reason) in TIMED_CHEATS.items():
        loss = RAISING_LOSS if name in RAISING else TIMED_LOSS
        loss = MAIN_LOSS if name in PATIENT else loss
        status: Status = "failed" if name in RAISING else "refused"
        yield Contender(name, kind, loss, cheat, status, reason)
    yield Contender(
        "uninitialized output",
        kind,
        TIMED_LOSS,
        later(uninitialized),
        reason=r"out\.logits is off",
    )
    yield Contender(
        "thread that never ends",
        kind,
        RAISING_LOSS,
        later(burning),
        reason="a thread works on",
    )
    yield Contender(
        "other stream", kind, TIMED_LOSS, later(other_stream), reason="off", devices=("cuda",)
    )


def own_variants() -> tuple[str, ...]:
    """Return lossbench's own variants that are measured beside the contenders.

    One of them is a compiled graph.
    """
    names = ("vectorized", "fused", "fused+compile")
    known = {each.variant for each in impls.implementations(MAIN_LOSS)}
    return tuple(name for name in names if name in known)
