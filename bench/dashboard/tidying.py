"""Remove empty series from asv's site, and add the machines' names to its regressions.

The suites list everything that can be measured on any machine, and asv would show each combination
that was not measured as an empty series.
"""

import json
from itertools import product
from pathlib import Path


def drop_unmeasured(results: Path) -> None:
    """Remove benchmarks and parameters without any measured value from ``benchmarks.json``.

    Every result file stores its own parameters and asv looks values up by them, so the remaining
    values keep their places.

    Args:
        results: copy of asv's results folder; its ``benchmarks.json`` is rewritten.
    """
    from asv.benchmarks import Benchmarks
    from asv.results import iter_results
    from asv.util import is_na, load_json, write_json

    path = results / "benchmarks.json"
    benchmarks = load_json(str(path), Benchmarks.api_version)
    measured: dict[str, list[set[str]]] = {}
    for result in iter_results(str(results)):
        for name in result.get_result_keys(benchmarks):
            axes = benchmarks[name]["params"]
            cells = zip(product(*axes), result.get_result_value(name, axes), strict=True)
            for cell in (cell for cell, value in cells if not is_na(value)):
                seen = measured.setdefault(name, [set() for _ in axes])
                for values, value in zip(seen, cell, strict=True):
                    values.add(value)
    kept = {
        name: benchmarks[name] | {"params": _kept(benchmarks[name]["params"], seen)}
        for name, seen in measured.items()
    }
    write_json(str(path), kept, Benchmarks.api_version)


def _kept(axes: list[list[str]], seen: list[set[str]]) -> list[list[str]]:
    return [
        [value for value in axis if value in values]
        for axis, values in zip(axes, seen, strict=True)
    ]


def drop_empty_rows(site: Path) -> None:
    """Remove the rows without a value from each machine's list of benchmarks.

    Args:
        site: folder that ``asv publish`` wrote; its ``summary.json`` files are rewritten.
    """
    for path in site.glob("graphs/**/summary.json"):
        rows = json.loads(path.read_text(encoding="utf-8"))
        filled = [row for row in rows if row["last_value"] is not None]
        path.write_text(json.dumps(filled), encoding="utf-8")


def name_machines(site: Path) -> None:
    """Add the machine to each line of the regressions page, if there are several machines.

    asv names the machine only in the line's link. The page takes the text before the first
    parenthesis as the benchmark's name, so the machine is added in parentheses at the end.
    """
    path = site / "regressions.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    for entry in listed["regressions"]:
        name, parameters = entry[0], entry[2]
        if "machine" in parameters:
            entry[0] = f"{name}{' ' if '(' in name else ''}({parameters['machine']})"
    path.write_text(json.dumps(listed), encoding="utf-8")
