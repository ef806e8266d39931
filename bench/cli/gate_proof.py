"""``gate-proof``: the gate on trial."""

from pathlib import Path

import click

from lossbench.bench.cli.figures import finish, make_folder, out_option
from lossbench.bench.cli.gate import budget_option, margin_option, telling, threads_option
from lossbench.bench.cli.options import Name, device_option
from lossbench.bench.gate.plan import GatePlan
from lossbench.bench.gate.proof import FEWEST_RUNS, hold_proof
from lossbench.bench.gate.table import proof_table
from lossbench.bench.run.plan import choose_device


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
@click.option("--machine", type=Name(), default="", help="The name this machine goes by.")
@out_option
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
    plan = GatePlan(margin, budget, threads, choose_device(device), machine)
    make_folder(out)
    with telling() as tell:
        proof = hold_proof(plan, runs, tell)
    finish(proof, proof_table(proof), out, "gate")
