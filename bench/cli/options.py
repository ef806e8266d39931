"""The options and arguments that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from lossbench.bench.cli.kinds import FiniteRange, Folder, LossName, Name, VariantName
from lossbench.bench.errors import UsageError
from lossbench.bench.terminal import printing_to_stderr
from lossbench.impls.outside import register_from, register_installed

Command = TypeVar("Command", bound=Callable[..., Any])


def _register(_context: click.Context, _option: click.Parameter, sources: tuple[str, ...]) -> None:
    """Register the contenders of installed packages, then those of the files that are named."""
    with printing_to_stderr():
        problems = register_installed()
        for source in sources:
            try:
                register_from(source)
            except ValueError as error:
                raise UsageError(str(error)) from error
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)


# Processed first (eager), because other options may name what it registers.
with_option = click.option(
    "--with", "outside", multiple=True, is_eager=True, expose_value=False, callback=_register,
    metavar="FILE_OR_MODULE",
    help="Your Python file or module that registers implementations; can be given several times.",
)  # fmt: skip

loss_argument = click.argument("loss", type=LossName(), metavar="LOSS")

losses_option = click.option(
    "--loss", "losses", type=LossName(), multiple=True,
    help="Loss to include; can be given several times. By default all.",
)  # fmt: skip

variants_option = click.option(
    "--variant", "variants", type=VariantName(), multiple=True,
    help="Variant to include; can be given several times. By default all that are not compiled.",
)  # fmt: skip

device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Device to compute on; auto is CUDA if there is a GPU, otherwise the CPU.",
)  # fmt: skip

machine_option = click.option(
    "--machine", type=Name(), default="",
    help="Name to record for this machine; by default its host name.",
)  # fmt: skip


def folder_options(new: str, stopped: str) -> Callable[[Command], Command]:
    """Return a decorator that adds ``--out`` and ``--resume`` to a command that can be stopped.

    Args:
        new: help text of ``--out``, the folder to make.
        stopped: help text of ``--resume``, the folder to go on with.
    """

    def decorate(command: Command) -> Command:
        resume = click.option("--resume", type=Folder, help=stopped)
        return click.option("--out", type=Folder, help=new)(resume(command))

    return decorate


def budget_option(text: str, default: float | None = None) -> Callable[[Command], Command]:
    """Return the option ``--budget``, seconds of sampling, with a help text."""
    return click.option(
        "--budget", type=FiniteRange(0, min_open=True), default=default,
        show_default=default is not None, help=text,
    )  # fmt: skip


def timeout_option(text: str, default: float) -> Callable[[Command], Command]:
    """Return the option ``--timeout``, seconds, with a help text."""
    return click.option(
        "--timeout", type=FiniteRange(1), default=default, show_default=True, help=text
    )


def threads_option(
    text: str = "CPU threads that torch uses; by default torch's own number within the CPU quota.",
    default: int | None = None,
) -> Callable[[Command], Command]:
    """Return the option ``--threads``, with a help text."""
    return click.option(
        "--threads", type=click.IntRange(1), default=default, show_default=default is not None,
        help=text,
    )  # fmt: skip


SIZES = {
    "batch": "Batch size B.",
    "dim": "Embedding dimension D.",
    "classes": "Number of classes C.",
}


def size_options(**defaults: int) -> Callable[[Command], Command]:
    """Return a decorator that adds one option per size to a command, with its default."""

    def decorate(command: Command) -> Command:
        for name, default in reversed(defaults.items()):
            option = click.option(
                f"--{name}", type=click.IntRange(1), default=default, show_default=True,
                help=SIZES[name],
            )  # fmt: skip
            command = option(command)
        return command

    return decorate


def refuse_beside(option: str, *allowed: str) -> None:
    """Refuse the other options of the current command, beside one that decides them all.

    Args:
        option: name of the option that decides the others.
        *allowed: names of the options that may be given beside it.

    Raises:
        UsageError: if another option was given; the message names the others.
    """
    context = click.get_current_context()
    others = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in (None, option, *allowed)
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if others:
        but = f" but {' and '.join(f'--{name}' for name in allowed)}" if allowed else ""
        raise UsageError(f"--{option} takes no other option{but}, got {', '.join(others)}")
