"""``gate-proof``: the gate on trial."""

from io import StringIO
from pathlib import Path

import click
from rich.console import Console

from bench.cli.gate import budget_option, margin_option, telling, threads_option
from bench.cli.options import device_option
from bench.cli.selftest import FOLDER, write_figures
from bench.gate.plan import COUNTED, TIMED, Plan
from bench.gate.proof import FEWEST_RUNS, ProofFile, hold_proof
from bench.gate.table import proof_table
from bench.plan import choose_device
from bench.table import LEAST_WIDTH, console


@click.command("gate-proof")
@click.option(
    "--runs",
    type=click.IntRange(1),
    default=FEWEST_RUNS,
    show_default=True,
    help="Of the gate, on identical code and on each planted regression.",
)
@margin_option
@budget_option
@threads_option
@click.option("--machine", default="", help="The name this machine goes by.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    help="Where to put the machine's folder. [default: results/selftest]",
)
@device_option
def gate_proof(
    runs: int,
    margin: float,
    budget: float,
    threads: int,
    machine: str,
    out: Path,
    device: str,
) -> None:
    """Put the gate on trial: false alarms, a forward 15% slower, an extra [B, B] buffer.

    Each run compares a copy of the working tree with another, in whose source the regression was
    written. The exit code is 1 where a promise fails. Fewer than 20 runs are not judged.
    """
    plan = Plan(
        timed=(TIMED,),
        counted=(COUNTED,),
        losses=(),
        variants=(),
        counts_only=False,
        margin=margin,
        budget_seconds=budget,
        threads=threads,
        device=choose_device(device),
        machine=machine,
    )
    with telling() as tell:
        proof = hold_proof(plan, runs, tell)
    folder = out / proof.environment.machine
    text = StringIO()
    Console(file=text, width=LEAST_WIDTH).print(proof_table(proof))
    plain = "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
    write_figures(folder, "gate", plain, ProofFile(proof).model_dump_json(indent=1))
    console().print(proof_table(proof))
    click.echo(f"figures: {folder}/gate.json", err=True)
    click.get_current_context().exit(proof.exit_code)
