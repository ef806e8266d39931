"""``compare``: two runs, commits or machines."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lossbench.bench.cli.options import FiniteRange, with_option
from lossbench.bench.compare.comparison import KINDS, MARGIN, compare
from lossbench.bench.compare.table import as_plain, changes_table
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
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
            click.BadParameter: where one is none; the message lists those there are.
        """
        kinds = tuple(value.split(",")) if isinstance(value, str) else value
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            self.fail(f"expected some of {', '.join(KINDS)}; got {', '.join(unknown)}", param, ctx)
        return kinds


@click.command("compare")
@with_option
@click.argument("first")
@click.argument("second")
@click.option(
    "--by", type=click.Choice(["run", "commit", "machine"]), default="run", show_default=True,
    help="What FIRST and SECOND name: folders, or commits or machines found in --in.",
)  # fmt: skip
@click.option(
    "--in", "places", type=click.Path(path_type=Path), multiple=True,
    help="Where to look for commits and machines; by default results/ and the records that come "
    "with lossbench.",
)  # fmt: skip
@click.option("--margin", type=FiniteRange(0), default=MARGIN, show_default=True,
              help="How far speed-ups may differ, relative, and still count as equal.")  # fmt: skip
@click.option(
    "--fail-on", type=Kinds(), default=(), help="Exit with 1 where there is such a change."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_runs(
    first: str,
    second: str,
    by: str,
    places: tuple[Path, ...],
    margin: float,
    fail_on: tuple[str, ...],
    as_json: bool,
) -> int:
    """Tell what has changed from FIRST to SECOND.

    Judged on one machine are the speed-ups over the reference, since a machine is not equally busy
    in two runs; of two machines times and speed-ups are shown side by side, and not judged.
    Kinds of change: slower, faster, bigger, smaller, less-exact, more-exact, broken, mended,
    status, vanished, appeared.
    """
    if by == "run" and places:
        raise UsageError("--in is where to look for commits or machines; --by run takes folders")
    frames = [_side(name, by, places) for name in (first, second)]
    found = compare(frames[0], frames[1], margin)
    if not (found.cells["side"] == "both").any():
        raise UsageError(f"{first} and {second} share no cell: no variant of a loss at one size")
    if not found.machines and {"slower", "faster"} & set(fail_on):
        raise UsageError(
            f"{first} and {second} are of different machines, whose times are not judged; leave "
            "slower and faster out of --fail-on"
        )
    failing = [kind for kind in fail_on if found.cells[kind].any()]
    if as_json:
        click.echo(json.dumps({**as_plain(found), "failed_on": failing}, indent=1))
    else:
        console().print(changes_table(found, (first, second)))
        if failing:
            click.echo(f"failed on: {', '.join(failing)}", err=True)
    return 1 if failing else 0


def _side(name: str, by: str, places: tuple[Path, ...]) -> "pd.DataFrame":
    """Return the frame that one of the names stands for."""
    if by == "run":
        frame = load(Path(name))
        if frame.empty:
            raise UsageError(f"{name}: expected records; there are none yet")
        return frame
    frame = load(*(places or records_folders()))
    chosen = frame[by].str.startswith(name) if by == "commit" else frame[by] == name
    if not name or not chosen.any():
        there = ", ".join(sorted(set(frame[by].dropna())))
        raise UsageError(f"no record of the {by} {name!r}; there are: {there or 'none'}")
    named = sorted(set(frame.loc[chosen, by]))
    if len(named) > 1:
        raise UsageError(f"expected one {by}, {name!r} begins several: {', '.join(named)}")
    return frame[chosen]
