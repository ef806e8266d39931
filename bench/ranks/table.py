"""The tables of ``ranks``: links, predicted steps, and predictions beside measured steps."""

from collections.abc import Iterable, Iterator

from rich.table import Table
from rich.text import Text

from lossbench.bench.format import binary, si
from lossbench.bench.ranks.model import Links, RankPrediction
from lossbench.bench.ranks.predict import CheckedPrediction


def links_table(links: Links, source: str) -> Table:
    """Return the table of links.

    Args:
        links: link of each kind of collective.
        source: origin of the figures, in words.
    """
    table = _table(f"link ({source})", "latency", "bandwidth")
    for kind, link in links.items():
        bandwidth = f"{binary(int(min(link.bytes_per_second, 2.0**60)))}/s"
        table.add_row(f"  {kind}", si(link.latency_seconds, "s"), bandwidth)
    return table


def prediction_tables(found: Iterable[RankPrediction]) -> Iterator[Table]:
    """Yield one table of predicted steps per variant."""
    by_variant: dict[str, list[RankPrediction]] = {}
    for each in found:
        by_variant.setdefault(each.variant, []).append(each)
    for variant, predictions in by_variant.items():
        table = _table(
            variant, "predicted step", "computed", "communication", "collectives", "given",
            "parameters", "memory a rank",
        )  # fmt: skip
        for each in predictions:
            table.add_row(
                f"  {each.ranks} ranks",
                si(each.step_seconds, "s"),
                si(each.computed_seconds, "s"),
                f"{each.share:.0%}",
                str(each.traffic.calls),
                binary(each.traffic.given_bytes),
                binary(each.parameter_bytes),
                binary(each.rank_bytes),
            )
        yield table


def checked_table(found: Iterable[CheckedPrediction]) -> Table:
    """Return the table of predictions for ranks of this machine, beside the measured steps."""
    table = _table("check", "computed", "communication", "predicted step", "measured step", "ratio")
    for each in found:
        predicted = each.prediction
        table.add_row(
            Text(f"  {predicted.variant}, {predicted.ranks} ranks"),
            si(predicted.computed_seconds, "s"),
            si(predicted.communicated_seconds, "s"),
            si(predicted.step_seconds, "s"),
            si(each.step_seconds, "s"),
            f"{each.ratio:.2f}",
        )
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, min_width=24)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
