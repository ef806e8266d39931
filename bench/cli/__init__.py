"""The command line: one module per command, and how errors are printed."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click
from click.exceptions import NoArgsIsHelpError

import lossbench
from lossbench.bench.collector import paused_collector
from lossbench.bench.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 for an error to correct, 130 for Ctrl-C."""
    out = sys.stdout
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
        return _end_unread()
    except SystemExit as error:
        # If the reader closed the pipe, click and rich exit with 1, which is a verdict here: rich
        # while it handles the error, click after it has replaced the standard output.
        if sys.stdout is out and not isinstance(error.__context__, BrokenPipeError):
            raise
        return _end_unread()
    return code or 0


def _end_unread() -> int:
    # What is left in the buffer must not raise again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


class LazyCommand(click.Command):
    """The name and summary of a command, which is imported when it is run.

    Attributes:
        place: module in this package and name of the command there, as in ``run:run_cases``.
    """

    def __init__(self, name: str, place: str, summary: str) -> None:
        super().__init__(name, short_help=summary)
        self.place = place

    def load(self) -> click.Command:
        """Import and return the command; its module imports torch."""
        module, _, attribute = self.place.partition(":")
        with paused_collector():
            command: click.Command = getattr(import_module(f"{__name__}.{module}"), attribute)
        return command


class LazyGroup(click.Group):
    """A group that prints help, suggestions and completions without importing its commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name of the command, the imported command, and the other arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest


COMMANDS = (
    LazyCommand("list", "catalogue:list_losses", "List all losses and their variants."),
    LazyCommand("show", "catalogue:show", "Describe a loss: formula, paper, costs, support."),
    LazyCommand("run", "run:run_cases", "Measure agreement, time and memory on this machine."),
    LazyCommand("results", "results:results", "Print the table of a run again."),
    LazyCommand("choose", "choose:choose", "Choose one implementation of a loss, with reasons."),
    LazyCommand("report", "report:report", "Make an HTML page of runs, with plots."),
    LazyCommand("board", "board:board", "Make a public board: the best variants by machine."),
    LazyCommand("submit", "submit:submit", "Bundle a run for a public board."),
    LazyCommand("verify", "verify:verify", "Check a bundle, and measure some of it again."),
    LazyCommand("compare", "compare:compare_runs", "Compare runs, commits, machines or torches."),
    LazyCommand("agreement", "agreement:agreement", "Print errors relative to float64, by dtype."),
    LazyCommand("conformance", "conformance:conformance", "Test variants on degenerate inputs."),
    LazyCommand("compat", "compat:compat", "Prove the implementations on the torch that runs."),
    LazyCommand("count", "count:count", "Count operators, allocations and bytes of a step."),
    LazyCommand("kernels", "kernels:kernels", "Compile the Triton kernels; needs no GPU."),
    LazyCommand("scaling", "scaling:scaling", "Fit growth with size; find the largest batch."),
    LazyCommand("ranks", "ranks:ranks", "Predict a step of many processes together."),
    LazyCommand("profile", "profile:profile", "Write traces and flame graphs of a step."),
    LazyCommand("train", "train:train", "Train a small network on each loss."),
    LazyCommand("gate", "gate:gate", "Fail if the working tree is worse than a commit."),
    LazyCommand("dashboard", "dashboard:dashboard", "Make a website of asv's results."),
    LazyCommand("selftest", "selftest:selftest", "Test the harness itself."),
    LazyCommand("first-light", "first_light:first_light", "Test and measure on a GPU, at once."),
    LazyCommand("gate-proof", "gate_proof:gate_proof", "Test how reliable the gate is."),
    LazyCommand("choose-check", "choose_check:choose_check", "Test how often choose is right."),
    LazyCommand("choose-table", "choose_table:choose_table", "Write the table for variant='auto'."),
)


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(lossbench.__version__, message="lossbench %(version)s")
def commands() -> None:
    """Compare implementations of loss functions: which one should I ship?"""
