"""The commands, a module each, and what they say when something is wrong."""

import os
from collections.abc import Sequence

import click
from click.exceptions import NoArgsIsHelpError

from lossbench.bench.cli.agreement import agreement
from lossbench.bench.cli.catalogue import list_losses, show
from lossbench.bench.cli.choose import choose
from lossbench.bench.cli.choose_check import choose_check
from lossbench.bench.cli.choose_table import choose_table
from lossbench.bench.cli.compare import compare_runs
from lossbench.bench.cli.conformance import conformance
from lossbench.bench.cli.count import count
from lossbench.bench.cli.dashboard import dashboard
from lossbench.bench.cli.gate import gate
from lossbench.bench.cli.gate_proof import gate_proof
from lossbench.bench.cli.profile import profile
from lossbench.bench.cli.report import report
from lossbench.bench.cli.results import results
from lossbench.bench.cli.run import run_cases
from lossbench.bench.cli.scaling import scaling
from lossbench.bench.cli.selftest import selftest
from lossbench.bench.cli.train import train
from lossbench.bench.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 for what the user can mend, 130 for Ctrl-C."""
    try:
        code = commands.main(arguments, prog_name="lossbench", standalone_mode=False)
    except NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        click.echo(f"error: {' '.join(error.format_message().split())}", err=True)
        return 2
    except UsageError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader has gone; what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return code or 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Compare implementations of loss functions: which one should I ship?"""


for command in (
    list_losses,
    show,
    compare_runs,
    choose,
    choose_table,
    choose_check,
    conformance,
    agreement,
    count,
    dashboard,
    gate,
    gate_proof,
    profile,
    report,
    results,
    run_cases,
    scaling,
    selftest,
    train,
):
    commands.add_command(command)
