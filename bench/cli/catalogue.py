"""``list`` and ``show``: print the losses and their variants."""

import click
from rich.text import Text

from lossbench import impls
from lossbench.bench.cli.options import loss_argument, with_option
from lossbench.bench.compat.table import known_table
from lossbench.bench.format import console, losses_table, support_table
from lossbench.bench.show.compat import compat_notes, compat_table
from lossbench.impls.cost import SYMBOLS, Cost
from lossbench.impls.loss import DOCUMENTS
from lossbench.impls.options import options_of


@click.command("list")
@with_option
def list_losses() -> None:
    """List every loss and its variants, that is, its implementations."""
    console().print(losses_table())


@click.command()
@loss_argument
@with_option
def show(loss: str) -> None:
    """Describe LOSS: formula, document, paper, minimal cost, departures, dtypes, torch releases."""
    entry, out = impls.loss(loss), console()
    out.print(f"[bold]{entry.name}[/]: {entry.summary}", highlight=False)
    out.print(f"  {entry.formula}\n", markup=False, highlight=False)
    out.print(f"document   {entry.document or '-'}", markup=False, highlight=False)
    out.print(f"           ({DOCUMENTS})", markup=False, highlight=False)
    out.print(f"paper      {entry.paper or '-'}", markup=False, highlight=False)
    arguments = ", ".join(str(p).replace("'", "") for p in entry.arguments.values())
    out.print(f"arguments  {arguments or '-'}", markup=False, highlight=False)
    out.print(f"options    {', '.join(options_of(entry)) or '-'}", markup=False, highlight=False)
    out.print(f"inputs     {', '.join(entry.input_names)}", markup=False, highlight=False)
    fields = ", ".join(getattr(entry.output, "_fields", ()))
    out.print(f"outputs    {fields}\n", markup=False, highlight=False)
    out.print(*_cost_lines(entry.cost), "", sep="\n", markup=False, highlight=False)
    out.print("departures", *(f"  - {d}" for d in entry.departures), "", sep="\n", markup=False)
    out.print(support_table(loss, ("cpu", "cuda")))
    table = known_table()
    if loss in table.losses:
        out.print("\non torch", compat_table(table, loss), sep="\n", highlight=False)
        for note in compat_notes(table, loss):
            out.print(Text(f"  {note}", "dim"), soft_wrap=True)


def _cost_lines(cost: Cost) -> list[str]:
    """Return the cost formulas of both phases, and the meaning of their symbols."""
    return [
        f"forward    at least {cost.forward_flops} FLOPs, {cost.forward_elements} elements moved",
        f"step       at least {cost.step_flops} FLOPs, {cost.step_elements} elements moved",
        "           " + "; ".join(f"{symbol}: {meaning}" for symbol, meaning in SYMBOLS.items()),
    ]
