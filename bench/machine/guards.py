"""Guards: compare the state that all contenders of a process share, before and after each one.

A contender that leaves a thread count, a flag, a hook or a patched function behind distorts the
measurements of the others. Therefore it is refused, and its process is ended.
"""

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from lossbench.bench.machine.shared_state import NAMED, SETTINGS

State = Mapping[str, Mapping[Any, object]]


class StateChanged(Exception):  # noqa: N818 - it tells what a contender did, not an error of ours
    """A contender changed state that others depend on; the message names it: ``it changed ...``."""


class Guard:
    """Compares the state of this process with its state before a question."""

    def __init__(self) -> None:
        self._before: State = {}

    def begin(self) -> None:
        """Remember the present state as the expected one."""
        self._before = observe()

    def check(self) -> None:
        """Refuse a contender that changed the state.

        Raises:
            StateChanged: if the state differs; the message lists the differences.
        """
        after = observe() if self._before else {}
        changed = [
            text
            for kind, before in self._before.items()
            for text in _differences(kind, before, after[kind])
        ]
        if changed:
            raise StateChanged(f"it changed {', '.join(changed)}")

    @contextmanager
    def own_changes(self) -> Iterator[None]:
        """Let the harness itself change the state, as torch's compiler does when it starts.

        Raises:
            StateChanged: if a contender has changed it before.
        """
        self.check()
        try:
            yield
        finally:
            if self._before:
                self.begin()


GUARD = Guard()
"""The one guard of this process; it checks nothing before its first ``begin``."""


def observe() -> State:
    """Return the state that the contenders of this process share, by kind and name."""
    settings = {name: _value(read) for name, read in SETTINGS.items()}
    return {"": settings} | {kind: dict(read()) for kind, read in NAMED.items()}


@contextmanager
def generators_untouched() -> Iterator[None]:
    """Refuse a contender that draws from a global random generator when it is called.

    A loss is a function of the inputs and the parameters, so no reference draws in a call.

    Raises:
        StateChanged: if a global generator has advanced.
    """
    before = _generators()
    yield
    moved = [name for name, state in _generators().items() if before.get(name, state) != state]
    if moved:
        raise StateChanged(f"it drew from the random generator of {', '.join(moved)}")


def _differences(
    kind: str, before: Mapping[Any, object], after: Mapping[Any, object]
) -> Iterator[str]:
    # Modules and compiled code bring new names, so only new or removed variables are changes.
    whole = kind == "the environment variable"
    for name in before.keys() | after.keys() if whole else before.keys() & after.keys():
        if before.get(name) != after.get(name):
            yield f"{kind} {_text(name)}".strip() + _figures(before.get(name), after.get(name))


def _text(name: Any) -> str:
    return name if isinstance(name, str) else f"{name.__module__}.{name.__qualname__}"


def _figures(before: object, after: object) -> str:
    """Return the values if they are short and readable, or nothing."""
    told = all(isinstance(value, bool | int | torch.dtype) for value in (before, after))
    return f" from {before} to {after}" if told else ""


def _value(read: Callable[[], object]) -> object:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - settings that exclude each other raise when read
        return type(error)


def _generators() -> dict[str, object]:
    found: dict[str, object] = {
        "Python": random.getstate(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
    if numpy := sys.modules.get("numpy"):
        kind, keys, *rest = numpy.random.get_state()
        found["NumPy"] = (kind, keys.tobytes(), *rest)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["CUDA"] = torch.cuda.get_rng_state().numpy().tobytes()
    return found
