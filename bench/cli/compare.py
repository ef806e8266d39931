"""``compare``: compare two runs, commits, machines or releases of torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lossbench.bench.cli.kinds import FiniteRange
from lossbench.bench.cli.options import with_option
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.compare.comparison import KINDS, MARGIN, Comparison, compare
from lossbench.bench.compare.table import as_plain, changes_table, verdict_line
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console, narrow_width
from lossbench.bench.frame import load
from lossbench.bench.paths import records_folders

if TYPE_CHECKING:
    import pandas as pd


class Kinds(click.ParamType[tuple[str, ...]]):
    """A list of kinds of change: ``slower,bigger``."""

    name = "kinds"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the kinds.

        Raises:
            click.BadParameter: if a kind is unknown; the message lists the known ones.
        """
        kinds = tuple(value.split(",")) if isinstance(value, str) else value
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            self.fail(f"expected some of {', '.join(KINDS)}; got {', '.join(unknown)}", param, ctx)
        return kinds


@click.command("compare")
@with_option
@click.argument("first")
@click.argument("others", nargs=-1, required=True, metavar="SECOND [MORE]...")
@click.option(
    "--by", type=click.Choice(["run", "commit", "machine", "torch"]), default="run",
    show_default=True,
    help="What FIRST and the others are: folders of runs, names of commits or machines, or "
    "releases of torch such as 2.13.",
)  # fmt: skip
@click.option(
    "--in", "places", type=click.Path(path_type=Path), multiple=True,
    help="Folder to search for other records than runs; can be given several times. "
    "By default results/ and the records that come with lossbench.",
)  # fmt: skip
@click.option("--margin", type=FiniteRange(0), default=MARGIN, show_default=True,
              help="Relative difference up to which speed-ups count as equal.")  # fmt: skip
@click.option(
    "--fail-on", type=Kinds(), default=(),
    help="Kinds of change, comma-separated, on which to exit with code 1; by default none.",
)  # fmt: skip
@form_options
def compare_runs(
    first: str,
    others: tuple[str, ...],
    by: str,
    places: tuple[Path, ...],
    margin: float,
    fail_on: tuple[str, ...],
) -> int:
    """Print what changed from FIRST to SECOND, and to each other measurement; the verdict first.

    Only records of the same machine, with the same processor, cores and threads, are compared. If a
    cell was measured several times, clean records come before those of uncommitted code, then those
    of three processes, with a narrow interval, and of a quiet machine; among equals the newest
    counts. What is left out is told.

    Runs of one machine are compared by their speed-ups over the reference, because the load of the
    machine differs between runs and changes all times. So are releases of torch (--by torch). Runs
    of two machines are printed side by side, and their times are not compared.

    Kinds of change: slower, faster, bigger, smaller (bytes), less-exact, more-exact (error),
    broken, mended (passed before, or now), status (another reason for no times), vanished,
    appeared.
    """
    if by == "run" and places:
        raise UsageError("--in takes folders to search for commits or machines, not with --by run")
    base = _side(first, by, places)
    compared = {name: _compared(first, base, name, by, places, margin) for name in others}
    for name, found in compared.items():
        if not found.machines and {"slower", "faster"} & set(fail_on):
            raise UsageError(
                f"{first} and {name} are of different machines or hardware, so times are not "
                "compared; leave slower and faster out of --fail-on"
            )
    failing = [
        kind for kind in fail_on if any(found.cells[kind].any() for found in compared.values())
    ]
    if asked_form():
        documents = [
            {"second": name, **as_plain(found), "failed_on": failing}
            for name, found in compared.items()
        ]
        rows = ({"second": d["second"], **change} for d in documents for change in d["changes"])
        print_rows(_joined(rows), documents if len(documents) > 1 else documents[0])
    else:
        out, width = console(), narrow_width()
        if len(compared) > 1:
            for name, found in compared.items():
                out.print(verdict_line(found, (first, name), width), soft_wrap=True)
            out.print()
        for name, found in compared.items():
            out.print(changes_table(found, (first, name), width), soft_wrap=True)
        if failing:
            click.echo(f"failed on: {', '.join(failing)}", err=True)
    return 1 if failing else 0


def _joined(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows with their kinds of change as one text."""
    yield from ({**row, "kinds": ",".join(row["kinds"])} for row in rows)


def _compared(
    first: str, base: "pd.DataFrame", name: str, by: str, places: tuple[Path, ...], margin: float
) -> Comparison:
    """Return the comparison of a measurement with the first.

    Raises:
        UsageError: if they share no cell.
    """
    found = compare(base, _side(name, by, places), margin)
    if not (found.cells["side"] == "both").any():
        raise UsageError(
            f"{first} and {name} share no cell: no variant was measured at one size in both"
        )
    return found


def _side(name: str, by: str, places: tuple[Path, ...]) -> "pd.DataFrame":
    """Return the frame of one measurement."""
    if by == "run":
        frame = load(Path(name))
        if frame.empty:
            raise UsageError(f"{name}: expected records; there are none yet")
        return frame
    frame = load(*(places or records_folders()))
    chosen = _is_named(frame[by], name, by)
    if by == "torch" and chosen.any():
        # The patch releases and builds of a release count as one.
        return frame[chosen]
    if not name or not chosen.any():
        there = ", ".join(sorted(set(frame[by].dropna())))
        raise UsageError(f"no record of the {by} {name!r}; there are: {there or 'none'}")
    named = sorted(set(frame.loc[chosen, by]))
    if len(named) > 1:
        raise UsageError(f"expected one {by}, but several begin with {name!r}: {', '.join(named)}")
    return frame[chosen]


def _is_named(names: "pd.Series[str]", name: str, by: str) -> "pd.Series[bool]":
    """Return which records are of a commit, given by its first characters, a machine or a torch."""
    if by == "commit":
        return names.str.startswith(name)
    if by == "torch":
        return names.str.replace("+", ".").str.startswith(f"{name}.") | (names == name)
    return names == name
