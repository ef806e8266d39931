"""The report: one page that holds what runs have found, and its plots as files beside it."""

from lossbench.bench.report.write import write_report

__all__ = ["write_report"]
