"""Write a flame graph of the steps of a trace, as one HTML page that loads nothing else.

The flame graph libraries on PyPI wrap a Perl script, or read the stacks of one sampling profiler.
A trace is a tree already, and a browser can lay out its frames as boxes within boxes.
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
    """One call path, added up over all steps, with the calls below it.

    Attributes:
        name: name of the operator, the autograd node or the mark.
        calls: number of calls.
        nanoseconds: time of all calls together.
        children: frames below this one by name, in the order of their first calls.
    """

    name: str
    calls: int = 0
    nanoseconds: int = 0
    children: dict[str, "Frame"] = field(default_factory=dict)

    @property
    def extent(self) -> int:
        """The width of the box, as a time; children in parallel threads can widen it."""
        return max(self.nanoseconds, sum(child.extent for child in self.children.values()), 1)

    @property
    def label(self) -> str:
        """The name without the prefix that the colour shows already."""
        return short_name(self.name.rpartition("::")[2])

    @property
    def kind(self) -> str:
        """The kind: ``operator``, ``node`` (of autograd) or ``other``."""
        if self.name.startswith("aten::"):
            return "operator"
        return "node" if NODE.search(self.name) else "other"


def merge(steps: Iterable[Span]) -> Frame:
    """Return one frame that adds up all steps."""
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
        root: frame of the steps.
        title: title of the page, with the loss, variant and case.
        file: HTML file to write; an older one is overwritten.
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
