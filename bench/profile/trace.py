"""A trace read back from its file: the steps as trees of spans, and what the allocator did."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEP = "ProfilerStep#"
# Of the profiler's categories, those of what a thread of the processor does, one inside another.
TRACE_HOST = ("cpu_op", "cuda_runtime", "user_annotation")
COMPILED = re.compile(r"## Call CompiledFxGraph (\w{8})\w* ##")
# As torch numbers them in its memory events.
DEVICE_TYPES = {"cpu": 0, "cuda": 1}


@dataclass
class Span:
    """Something that ran, with what ran inside it.

    Attributes:
        name: of the operator, the autograd node or the mark.
        thread: that it ran in.
        start_ns: when it began.
        end_ns: when it ended.
        children: in the order in which they began.
    """

    name: str
    thread: int
    start_ns: int
    end_ns: int
    children: list["Span"] = field(default_factory=list)

    def path_at(self, moment_ns: int) -> list["Span"]:
        """Return what ran at a moment, this span first, each inside the one before it."""
        for child in reversed(self.children):
            if child.start_ns <= moment_ns <= child.end_ns:
                return [self, *child.path_at(moment_ns)]
        return [self]


@dataclass(frozen=True)
class MemoryChange:
    """A buffer taken from the allocator, or given back.

    Attributes:
        moment_ns: when.
        address: of the buffer.
        bytes: its size, below 0 where it is given back.
    """

    moment_ns: int
    address: int
    bytes: int


@dataclass(frozen=True)
class Trace:
    """The steps of a trace.

    Attributes:
        steps: a tree each; its root is the step itself.
        changes: of the memory of one device, in order.
    """

    steps: tuple[Span, ...]
    changes: tuple[MemoryChange, ...]

    def changes_in(self, step: Span) -> list[MemoryChange]:
        """Return what a step did to the memory."""
        return [c for c in self.changes if step.start_ns <= c.moment_ns <= step.end_ns]


def read_trace(path: Path, device: str) -> Trace:
    """Return the trace of a file, with the changes of the memory of a device type."""
    events = json.loads(path.read_bytes())["traceEvents"]
    spans = [
        _span(event) for event in events if event.get("cat") in TRACE_HOST and event["ph"] == "X"
    ]
    changes = [
        MemoryChange(_nanoseconds(event["ts"]), event["args"]["Addr"], event["args"]["Bytes"])
        for event in events
        if event["name"] == "[memory]" and event["args"]["Device Type"] == DEVICE_TYPES[device]
    ]
    # A stable sort: what happened within one tick of the clock stays in order.
    changes.sort(key=lambda change: change.moment_ns)
    return Trace(tuple(_trees(spans)), tuple(changes))


def short_name(name: str) -> str:
    """Return a name for people: a compiled graph's without most of the hash in it."""
    return COMPILED.sub(r"compiled graph \1", name)


def _span(event: Mapping[str, Any]) -> Span:
    start = _nanoseconds(event["ts"])
    return Span(event["name"], event["tid"], start, start + _nanoseconds(event["dur"]))


def _nanoseconds(microseconds: float) -> int:
    return round(1000 * microseconds)


def _trees(spans: Iterable[Span]) -> list[Span]:
    """Return the steps, having put each span into the one that it ran in.

    What another thread does for a step, as autograd's does on CUDA, stands in the phase that waits
    for it. What runs outside of the steps is left out.
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
