"""Read a trace from its file: the steps as trees of spans, and the allocator's changes."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEP = "ProfilerStep#"
# The profiler's categories of nested work in a CPU thread.
TRACE_HOST = ("cpu_op", "cuda_runtime", "user_annotation")
COMPILED = re.compile(r"## Call CompiledFxGraph (\w{8})\w* ##")
# torch's numbers of the device types in its memory events.
DEVICE_TYPES = {"cpu": 0, "cuda": 1}


@dataclass
class Span:
    """One call, with the calls inside it.

    Attributes:
        name: name of the operator, the autograd node or the mark.
        thread: number of its thread.
        start_ns: start of the call, in nanoseconds.
        end_ns: end of the call, in nanoseconds.
        children: calls inside it, in the order of their starts.
    """

    name: str
    thread: int
    start_ns: int
    end_ns: int
    children: list["Span"] = field(default_factory=list)

    def path_at(self, moment_ns: int) -> list["Span"]:
        """Return the calls that ran at a moment, this one first, each inside the one before it."""
        for child in reversed(self.children):
            if child.start_ns <= moment_ns <= child.end_ns:
                return [self, *child.path_at(moment_ns)]
        return [self]


@dataclass(frozen=True)
class MemoryChange:
    """A buffer that was taken from the allocator, or released.

    Attributes:
        moment_ns: time of the change, in nanoseconds.
        address: address of the buffer.
        bytes: size of the buffer; negative if it was released.
    """

    moment_ns: int
    address: int
    bytes: int


@dataclass(frozen=True)
class Trace:
    """The steps of a trace, and its changes of memory.

    Attributes:
        steps: one tree per step; its root is the step itself.
        changes: changes of the memory of one device type, in order of time.
    """

    steps: tuple[Span, ...]
    changes: tuple[MemoryChange, ...]

    def changes_in(self, step: Span) -> list[MemoryChange]:
        """Return the changes of memory during a step."""
        return [c for c in self.changes if step.start_ns <= c.moment_ns <= step.end_ns]


def read_trace(path: Path, device: str) -> Trace:
    """Return the trace of a file, with the changes of memory of one device type."""
    events = json.loads(path.read_bytes())["traceEvents"]
    spans = [
        _span(event) for event in events if event.get("cat") in TRACE_HOST and event["ph"] == "X"
    ]
    changes = [
        MemoryChange(_nanoseconds(event["ts"]), event["args"]["Addr"], event["args"]["Bytes"])
        for event in events
        if event["name"] == "[memory]" and event["args"]["Device Type"] == DEVICE_TYPES[device]
    ]
    # The sort is stable, so changes within one tick of the clock stay in order.
    changes.sort(key=lambda change: change.moment_ns)
    return Trace(tuple(_trees(spans)), tuple(changes))


def short_name(name: str) -> str:
    """Return a name to show; the hash of a compiled graph is cut to its first 8 characters."""
    return COMPILED.sub(r"compiled graph \1", name)


def _span(event: Mapping[str, Any]) -> Span:
    start = _nanoseconds(event["ts"])
    return Span(event["name"], event["tid"], start, start + _nanoseconds(event["dur"]))


def _nanoseconds(microseconds: float) -> int:
    return round(1000 * microseconds)


def _trees(spans: Iterable[Span]) -> list[Span]:
    """Put each span into the span that called it, and return the steps.

    Autograd on CUDA runs in another thread; spans of another thread are put into the phase that
    waits for them. Spans outside the steps are left out.
    """
    steps: list[Span] = []
    running: dict[int, list[Span]] = {}
    for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
        for path in running.values():
            while path and path[-1].end_ns <= span.start_ns:
                path.pop()
        if span.name.startswith(STEP):
            steps.append(span)
            running = {span.thread: [span]}
        elif steps and running[steps[-1].thread]:
            path = running.setdefault(span.thread, [])
            parent = path or running[steps[-1].thread]
            parent[-1].children.append(span)
            path.append(span)
    return steps
