"""``ranks``: predict a step of many processes, and check predictions of few."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import click
from rich.text import Text

from lossbench.bench.case.cases import Case
from lossbench.bench.cli.kinds import FiniteRange
from lossbench.bench.cli.options import (
    budget_option,
    loss_argument,
    size_options,
    threads_option,
    timeout_option,
    variants_option,
    with_option,
)
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.ranks.asking import check_ranks
from lossbench.bench.ranks.model import Links, RankPrediction, Shape, given_links
from lossbench.bench.ranks.predict import LINKED_RANKS, CheckedPrediction, Predictor
from lossbench.bench.ranks.table import checked_table, links_table, prediction_tables
from lossbench.bench.run.plan import check_variants
from lossbench.bench.timing.sampling import Sampling

MOST_RANKS = 4096
NOTE = (
    "predicted: one rank runs here with collectives that return at once, so that what it computes "
    "and its memory are measured; the time of the collectives is added by an alpha-beta model, in "
    "which nothing overlaps"
)


class RankCounts(click.ParamType[tuple[int, ...]]):
    """Numbers of ranks: ``2,3,4``, or ``8..1024`` by factors of 2."""

    name = "ranks"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers.

        Raises:
            click.BadParameter: if it is no list of numbers from 2 on, and no range of them.
        """
        if not isinstance(value, str):
            return tuple(value)
        found = [n for part in value.split(",") for n in _numbers(part.strip())]
        if not found or not all(2 <= n <= MOST_RANKS for n in found):
            self.fail(
                f"expected ranks from 2 to {MOST_RANKS}, such as 8..1024 or 2,3,4, got {value!r}",
                param, ctx,
            )  # fmt: skip
        return tuple(found)


def _numbers(text: str) -> list[int]:
    match = re.fullmatch(r"(\d{1,6})(?:\.\.(\d{1,6}))?", text)
    if match is None:
        return [0]
    first, last = int(match[1]), int(match[2] or match[1])
    numbers = [first * 2**n for n in range(20) if first * 2**n <= last]
    return numbers if first else [0]


@click.command("ranks")
@loss_argument
@variants_option
@size_options(batch=64, dim=128, classes=10_000)
@click.option(
    "--ranks", "counts", type=RankCounts(), default="8..1024", show_default=True,
    help="Numbers of ranks to predict; .. goes on by factors of 2.",
)  # fmt: skip
@click.option(
    "--latency", type=FiniteRange(0),
    help="Latency of a message between two ranks, in µs; with --bandwidth. By default both are "
    "measured between two processes on this machine.",
)  # fmt: skip
@click.option(
    "--bandwidth", type=FiniteRange(0, min_open=True),
    help="Bandwidth between two ranks, in GB/s.",
)  # fmt: skip
@click.option(
    "--shape", type=click.Choice(get_args(Shape)), default="ring", show_default=True,
    help="Messages of a collective that follow each other: N - 1, or log2 N.",
)  # fmt: skip
@click.option(
    "--check", type=RankCounts(), default=(),
    help="Numbers of ranks to measure on this machine beside their predictions, such as 2,3,4.",
)  # fmt: skip
@with_option
@budget_option("Seconds of sampling for each number of ranks.", default=1)
@timeout_option(
    "Seconds without an answer after which a measurement is given up.",
    default=VARIANT_SECONDS,
)
@threads_option("CPU threads of each rank.", default=1)
@form_options
def ranks(
    loss: str,
    variants: tuple[str, ...],
    batch: int,
    dim: int,
    classes: int,
    counts: tuple[int, ...],
    latency: float | None,
    bandwidth: float | None,
    shape: Shape,
    check: tuple[int, ...],
    budget: float,
    timeout: float,
    threads: int,
) -> None:
    """Predict a step of LOSS on many ranks, by an alpha-beta model of the links between them.

    The batch is that of one rank. Variants that are not sharded have all parameters on every rank,
    as data-parallel training has. `lossbench run --ranks 2` measures.
    """
    check_ranks(2, (loss,), "cpu")
    for count in check:
        check_ranks(count, (loss,), "cpu")
    if (latency is None) != (bandwidth is None):
        raise UsageError("--latency and --bandwidth describe one link: give both, or none")
    check_variants([loss], variants)
    names = tuple(dict.fromkeys(variants)) or ("sharded", "fused")
    case, out = Case(loss, batch, dim, classes).checked(), console()
    try:
        with console(stderr=True).status(loss) as status:
            predictor = Predictor(
                case, names, Sampling(budget), timeout,
                lambda: Worker(threads), status.update, shape,
            )  # fmt: skip
            if latency is None or bandwidth is None:
                links, source = predictor.measure_links(), f"measured, {LINKED_RANKS} ranks"
            else:
                links, source = given_links(latency * 1e-6, bandwidth * 1e9), "given"
            found = predictor.predict(counts, links)
            checked = predictor.check(check, links)
    except Lost as lost:
        raise UsageError(f"{lost.status}: {lost}") from None
    if asked_form():
        print_rows(_rows(links, found, checked))
        return
    out.print(Text.assemble((loss, "bold"), (f"  {case}, batch of one rank", "dim")))
    out.print(links_table(links, source))
    for table in prediction_tables(found):
        out.print(table)
    if checked:
        out.print(checked_table(checked))
    out.print(Text(NOTE, "dim"))


def _rows(
    links: Links, found: Sequence[RankPrediction], checked: Sequence[CheckedPrediction]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each link, each prediction, and each prediction that was checked."""
    for kind, link in links.items():
        yield {"kind": kind, **vars(link)}
    for each in found:
        yield {**_predicted(each), "parameter_bytes": each.parameter_bytes,
               "rank_bytes": each.rank_bytes}  # fmt: skip
    for one in checked:
        yield {**_predicted(one.prediction), "measured_step_seconds": one.step_seconds,
               "ratio": one.ratio}  # fmt: skip


def _predicted(each: RankPrediction) -> dict[str, Any]:
    return {
        "variant": each.variant,
        "ranks": each.ranks,
        "predicted_step_seconds": each.step_seconds,
        "computed_seconds": each.computed_seconds,
        "predicted_communication_seconds": each.communicated_seconds,
        "predicted_share": each.share,
        "collectives": each.traffic.calls,
        "given_bytes": each.traffic.given_bytes,
    }
