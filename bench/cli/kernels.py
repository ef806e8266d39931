"""``kernels``: what the compiler makes of the Triton kernels, without a GPU."""

from importlib.util import find_spec

import click

from lossbench.bench.case.cases import DTYPES
from lossbench.bench.cli.kinds import LossName
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.measure.kernels import CAPABILITY
from lossbench.bench.show.kernels import kernel_rows, kernels_table

# float64 has no kernels.
KERNEL_DTYPES = [dtype for dtype in DTYPES if dtype != "float64"]


@click.command()
@click.argument("losses", type=LossName(), nargs=-1, metavar="[LOSS]...")
@click.option(
    "--dtype", "dtypes", type=click.Choice(KERNEL_DTYPES), multiple=True,
    default=("float32", "bfloat16"), show_default=True,
    help="Dtype of inputs and parameters; can be given several times.",
)  # fmt: skip
@click.option(
    "--chip", type=click.Choice(["80", "90", "100"]), default=str(CAPABILITY), show_default=True,
    help="Compute capability to compile for, without the point.",
)  # fmt: skip
@form_options
def kernels(losses: tuple[str, ...], dtypes: tuple[str, ...], chip: str) -> None:
    """Compile the Triton kernels of each LOSS, by default of all, and print what they take.

    A row is a kernel in its default configuration: the registers of a thread, the bytes that a
    thread keeps in memory for want of registers, the shared memory of a program, and the number of
    instructions that multiply matrices. Each is the largest over the losses, and over sizes that
    are multiples of 16 and sizes that are not. Nothing is run, so no GPU is needed.
    """
    if find_spec("triton") is None:
        raise UsageError("kernels needs the package triton: pip install triton")
    named = losses or tuple(LossName().names())
    with console(stderr=True).status("compiling"):
        rows = list(kernel_rows(named, dtypes, int(chip)))
    if asked_form():
        print_rows(rows)
    else:
        console().print(kernels_table(rows))
