"""``list`` and ``show``: print the losses and their variants."""

from collections.abc import Iterator
from typing import Any

import click
from rich.text import Text

from lossbench import impls
from lossbench.bench.cli.options import loss_argument, with_option
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.compat.table import known_table
from lossbench.bench.format import (
    console,
    folded,
    losses_table,
    narrow_width,
    support_table,
    support_text,
    supported_dtypes,
)
from lossbench.bench.show.compat import compat_notes, compat_table
from lossbench.impls.admission import DEVICES
from lossbench.impls.cost import SYMBOLS
from lossbench.impls.loss import DOCUMENTS, Loss
from lossbench.impls.options import options_of


@click.command("list")
@with_option
@form_options
def list_losses() -> None:
    """List every loss and its variants, that is, its implementations."""
    if asked_form():
        print_rows(row for loss in impls.losses() for row in variant_rows(loss.name))
    elif width := narrow_width():
        console().print(Text("\n".join(_listed(width))))
    else:
        console().print(losses_table())


def _listed(width: int) -> Iterator[str]:
    """Yield each loss with its summary, and below it its variants."""
    for loss in impls.losses():
        yield folded(f"{loss.name}: {loss.summary}", width, " " * 4)
        names = ", ".join(i.variant for i in impls.implementations(loss.name) if not i.compiled)
        yield folded(f"  {names}", width)


def variant_rows(loss: str) -> Iterator[dict[str, Any]]:
    """Yield the properties of each variant of a loss."""
    for each in impls.implementations(loss):
        yield {
            "loss": loss,
            "variant": each.variant,
            "compiled": each.compiled,
            "sparse": each.sparse,
            "requires": ", ".join(each.requires),
            "outputs": ", ".join(each.outputs),
            **{device: ", ".join(supported_dtypes(each, device)) for device in DEVICES},
            "departs": each.departs,
            "limits": "; ".join(f"{name}: {why}" for name, why in each.limits.items()),
        }


@click.command()
@loss_argument
@with_option
@form_options
def show(loss: str) -> None:
    """Describe LOSS: formula, document, paper, minimal cost, departures, dtypes, torch releases.

    With --csv its variants are printed, with --json both.
    """
    entry = impls.loss(loss)
    if asked_form():
        rows = list(variant_rows(loss))
        described = {name: list(values) for name, values in _described(entry).items()}
        print_rows(rows, {"loss": loss, **described, "variants": rows})
        return
    out, width = console(), narrow_width()
    out.print(Text.assemble((entry.name, "bold"), f": {entry.summary}"), soft_wrap=True)
    for name, values in _described(entry).items():
        line = f"{name:<11}{'; '.join(values) or '-'}"
        out.print(Text(folded(line, width, " " * 11)), soft_wrap=True)
    out.print()
    if width is None:
        out.print(support_table(loss, DEVICES))
    else:
        out.print(Text("\n".join(_support_lines(loss, width))), soft_wrap=True)
    table = known_table()
    if loss in table.losses:
        out.print("\non torch", compat_table(table, loss), sep="\n", highlight=False, width=width)
        for note in compat_notes(table, loss):
            out.print(Text(folded(f"  {note}", width, " " * 4), "dim"), soft_wrap=True)


def _described(entry: Loss) -> dict[str, tuple[str, ...]]:
    """Return the properties of a loss, in the order in which they are printed."""
    cost = entry.cost
    return {
        "formula": (entry.formula,),
        "document": (f"{entry.document} ({DOCUMENTS})",) if entry.document else (),
        "paper": (entry.paper,) if entry.paper else (),
        "arguments": tuple(str(p).replace("'", "") for p in entry.arguments.values()),
        "options": tuple(options_of(entry)),
        "inputs": entry.input_names,
        "outputs": entry.outputs,
        "forward": (
            f"at least {cost.forward_flops} FLOPs, {cost.forward_elements} elements moved",
        ),
        "step": (f"at least {cost.step_flops} FLOPs, {cost.step_elements} elements moved",),
        "symbols": tuple(f"{symbol}: {meaning}" for symbol, meaning in SYMBOLS.items()),
        "departures": entry.departures,
    }


def _support_lines(loss: str, width: int) -> Iterator[str]:
    """Yield the dtypes that each variant supports, one line for each device and variant."""
    for each in impls.implementations(loss):
        yield each.variant
        for device in DEVICES:
            yield folded(f"  {device}: {support_text(each, device)}", width, " " * 4)
