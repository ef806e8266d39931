"""Write docs/gallery.md: the output of each command, and pictures of what has no text.

``nox -s gallery`` renews everything; names of sections after ``--`` renew those alone.
"""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

PAGE = ROOT / "docs" / "gallery.md"
IMAGES = ROOT / "docs" / "images"
MOST_LINES = 28
RUN = "results/2-core-epyc/ordinary"
HASH = "#loss=arcface&dtype=float32&data=gaussian&batch=256&dim=128&classes=1000"
HEAD = """# Gallery

What each command prints at 80 columns, cut after some lines, and pictures of the rest. This page is
written by `nox -s gallery`; `nox -s gallery -- choose report` renews two of its sections.
"""
COMMANDS = {
    "list": "what there is",
    "show arcface": "one loss: formula, source, cost, support",
    "run --loss center --batch 64 --classes 10 --eager --budget 1 --out {scratch}/run":
        "measure; your own sizes, dtypes and devices are options",
    f"results {RUN} --loss arcface": "the table of a run again",
    "choose center --batch 256 --dim 512 --classes 100000":
        "one implementation for your size, with the evidence",
    "compare results/2-core-epyc/full results/2-core-epyc/full-again":
        "what got faster, slower, bigger, less exact",
    "agreement center": "errors in units in the last place, and drift in training",
    "conformance arcface": "degenerate inputs: duplicates, zero rows, overflow, NaN",
    "count arcface --variant fused": "operators, buffers and bytes, the same at every run",
    "scaling center --memory 1GiB": "exponents of time and memory, and the largest batch",
    "profile arcface fused --out {scratch}/profile": "the operators of a step; traces",
}  # fmt: skip
PICTURES = {
    "report": "An HTML page that works offline, and opens with the answer. Its address holds the "
    "choice, so that it can be linked.",
    "train": "A network with two features is trained under each loss. A dot is a test image, a "
    "line the direction of a class's weights, a digit the mean of its class, a cross the centre "
    "that the loss learned. Below: the share of test images that the weights, and the nearest "
    "class mean, classify right; 10% is chance. A loss is for narrow classes, far apart.",
    "dashboard": "The history of asv's figures over commits, as a site, by `nox -s dashboard`.",
}


def main(names: Iterable[str]) -> None:
    """Renew the page; with names of commands, their sections alone."""
    wanted = set(names)
    known = _sections()
    with TemporaryDirectory() as scratch:
        for line, words in COMMANDS.items():
            name = line.partition(" ")[0]
            if not wanted or name in wanted:
                known[name] = _printed(name, line, words, scratch)
                _write(known)
        for name, words in PICTURES.items():
            if not wanted or name in wanted:
                known[name] = f"{words}\n\n{_pictures(name)}"
                _write(known)


def _write(known: dict[str, str]) -> None:
    """Write the page after each section, so that a command that fails loses no other."""
    order = [line.partition(" ")[0] for line in COMMANDS] + list(PICTURES)
    parts = [f"## {name}\n\n{known[name].strip()}\n" for name in order if name in known]
    PAGE.write_text("\n".join([HEAD, *parts]))


def _sections() -> dict[str, str]:
    """Return the sections of the present page, by name."""
    if not PAGE.exists():
        return {}
    parts = re.split(r"^## (\w+)\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _printed(name: str, line: str, words: str, scratch: str) -> str:
    """Return the section of a command: what it is for, and what it prints."""
    from lossbench.bench.cli import main as command

    os.environ |= {"COLUMNS": "80", "NO_COLOR": "1"}
    text = StringIO()
    with redirect_stdout(text), redirect_stderr(StringIO()):
        code = command(shlex.split(line.format(scratch=scratch)))
    if code:
        raise SystemExit(f"{name}: exit code {code}")
    printed = text.getvalue().replace(f"{scratch}/", "results/runs/")
    lines = [each.rstrip() for each in printed.splitlines()]
    cut = [*lines[:MOST_LINES], "..."] if len(lines) > MOST_LINES else lines
    shown = line.replace("{scratch}/", "results/runs/")
    body = "\n".join([f"$ lossbench {shown}", *cut])
    return f"{words[0].upper()}{words[1:]}.\n\n```console\n{body}\n```\n"


def _pictures(name: str) -> str:
    """Draw the pictures of a command, and return the Markdown that shows them."""
    drawn: dict[str, Callable[[], None]] = {"report": _report, "train": _train}
    if name in drawn:
        drawn[name]()
    files = sorted(IMAGES.glob(f"{name}*.png")) or [IMAGES / "features.png"]
    return "\n".join(f"![{name}: {file.stem}](images/{file.name})\n" for file in files)


def _report() -> None:
    from lossbench.bench.dashboard.screenshot import SCREENS, photograph
    from lossbench.bench.report.data import load_evidence
    from lossbench.bench.report.page import render

    with TemporaryDirectory() as folder:
        # The page alone: the plots beside it take the longest.
        page = Path(folder) / "index.html"
        page.write_text(render(load_evidence([ROOT / "results" / "2-core-epyc"])))
        for screen in SCREENS:
            picture = IMAGES / f"report-{screen}.png"
            picture.write_bytes(photograph(page.as_uri() + HASH, screen))
        plots = photograph(page.as_uri() + HASH, "desktop", part="plots")
        (IMAGES / "report-plots.png").write_bytes(plots)


def _train() -> None:
    from lossbench.bench.cli import main as command

    with TemporaryDirectory() as folder:
        command(["train", "--out", folder])
        (IMAGES / "features.png").write_bytes((Path(folder) / "features.png").read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
