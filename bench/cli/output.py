"""Print figures for people, or with ``--json`` and ``--csv`` for scripts."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from lossbench.bench.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])
FORM = "lossbench.form"


def _set_form(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    if FORM in context.meta:
        raise UsageError("--json and --csv print the same figures: give one, not both")
    context.meta[FORM] = str(option.name)


def form_options(command: Command) -> Command:
    """Add the options ``--json`` and ``--csv``; ``print_rows`` reads them."""
    for form in ("csv", "json"):
        option = click.option(
            f"--{form}", form, is_flag=True, expose_value=False, callback=_set_form,
            help=f"Print every figure as {form.upper()}.",
        )  # fmt: skip
        command = option(command)
    return command


def asked_form() -> str:
    """Return ``json`` or ``csv`` if the current command was asked for it, else an empty text."""
    return str(click.get_current_context().meta.get(FORM, ""))


def print_rows(rows: Iterable[Mapping[str, Any]], document: Any = None) -> None:
    """Print rows as the current command was asked to, JSON or CSV.

    Args:
        rows: one mapping per row, from the name of a figure to its value; ``None`` if missing.
        document: JSON to print instead of a list of the rows, for what is no row.
    """
    found = [{name: _finite(value) for name, value in row.items()} for row in rows]
    if asked_form() == "json":
        click.echo(json.dumps(found if document is None else document, indent=1))
        return
    names = list(dict.fromkeys(name for row in found for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)


def _finite(value: Any) -> Any:
    """Return a value for JSON, which has no number that is not finite."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
