"""``gate-proof``: test how reliable the gate is."""

from pathlib import Path

import click

from lossbench.bench.cli.figures import finish, make_folder, out_option
from lossbench.bench.cli.gate import gate_budget_option, gate_threads_option, margin_option
from lossbench.bench.cli.options import device_option, machine_option
from lossbench.bench.gate.plan import GatePlan
from lossbench.bench.gate.proof import FEWEST_RUNS, hold_proof
from lossbench.bench.gate.table import proof_table
from lossbench.bench.run.plan import choose_device
from lossbench.bench.show.progress import telling


@click.command("gate-proof")
@click.option(
    "--runs",
    type=click.IntRange(1),
    default=FEWEST_RUNS,
    show_default=True,
    help="Number of gate runs on identical code, and on each planted regression.",
)
@margin_option
@gate_budget_option
@gate_threads_option
@machine_option
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
    """Test the gate: count false alarms, and missed regressions that were planted.

    Each run compares two copies of the working tree. The second copy is identical, has a forward
    that is 15% slower, or allocates an extra [B, B] buffer. The exit code is 1 if the gate breaks a
    promise. With fewer than 20 runs no promise is checked.
    """
    plan = GatePlan(margin, budget, threads, choose_device(device), machine)
    make_folder(out)
    with telling() as tell:
        proof = hold_proof(plan, runs, tell)
    finish(proof, proof_table(proof), out, "gate")
