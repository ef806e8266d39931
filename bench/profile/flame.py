"""A flame graph of the steps of a trace: one page, without a script or a font from elsewhere.

The flame graph libraries of PyPI wrap a Perl script or read the stacks of one sampling profiler.
A trace holds its tree already, and frames are boxes within boxes, as a browser lays them out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lossbench.bench.format import si
from lossbench.bench.profile.trace import Span, short_name

FLAME_ROOT = "step"
NODE = re.compile(r"autograd::|Backward\d*$")


@dataclass
class Frame:
    """The same call path of all steps, with what was called there.

    Attributes:
        name: of the operator, the autograd node or the mark.
        calls: how often it was taken.
        nanoseconds: that were spent in it, over all calls.
        children: by name, in the order in which they were first called.
    """

    name: str
    calls: int = 0
    nanoseconds: int = 0
    children: dict[str, "Frame"] = field(default_factory=dict)

    @property
    def extent(self) -> int:
        """The time that its box stands for; threads beside each other can take more than it."""
        return max(self.nanoseconds, sum(child.extent for child in self.children.values()), 1)

    @property
    def label(self) -> str:
        """The name without what its colour tells."""
        return short_name(self.name.rpartition("::")[2])

    @property
    def kind(self) -> str:
        """An ``operator``, a ``node`` of autograd, or ``other``."""
        if self.name.startswith("aten::"):
            return "operator"
        return "node" if NODE.search(self.name) else "other"


def merge(steps: Iterable[Span]) -> Frame:
    """Return the steps laid over each other."""
    root = Frame(FLAME_ROOT)
    for step in steps:
        _add(step, root)
    return root


def _add(span: Span, frame: Frame) -> None:
    frame.calls += 1
    frame.nanoseconds += span.end_ns - span.start_ns
    for child in span.children:
        _add(child, frame.children.setdefault(child.name, Frame(child.name)))


def write_flame_graph(root: Frame, title: str, file: Path) -> None:
    """Write the page of a flame graph.

    Args:
        root: the steps.
        title: what was profiled.
        file: of HTML; it is overwritten.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lossbench.bench.profile"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def told(frame: Frame) -> str:
        seconds = si(frame.nanoseconds / root.calls / 1e9, "s")
        share = frame.nanoseconds / root.nanoseconds
        calls = frame.calls / root.calls
        return f"{frame.name}: {seconds} a step, {share:.1%}, {calls:g} calls a step"

    page = environment.get_template("flame.html").render(root=root, title=title, told=told)
    file.write_text(page)
