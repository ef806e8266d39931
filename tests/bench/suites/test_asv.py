"""asv finds the registry's losses and variants, and measures the package's import time."""

import importlib.util

import pytest

from lossbench import impls
from lossbench.bench.paths import ROOT
from lossbench.bench.suites import package
from lossbench.bench.suites.parameters import (
    ASV_DEVICES,
    COMPILED,
    COMPILED_BY_DEFAULT,
    EAGER,
    MODES,
    RETIRED,
)

pytest.importorskip("asv")
from asv_runner.benchmarks.mark import SkipNotImplemented
from asv_runner.discovery import disc_benchmarks

UNITS = {
    "step_seconds": "seconds",
    "forward_seconds": "seconds",
    "step_ratio": "ratio",
    "step_peak_bytes": "bytes",
    "saved_bytes": "bytes",
    "error": "relative error",
    "compile_seconds": "seconds",
}


@pytest.fixture(scope="module")
def benchmarks():
    return {benchmark.name: benchmark for benchmark in disc_benchmarks(str(ROOT / "bench"))}


def registered():
    return {
        (loss.name, implementation.variant)
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
    }


def listed():
    yield from ((loss, variant) for loss, variants in EAGER.items() for variant in variants)
    for loss, variants in COMPILED.items():
        yield from ((loss, variant + mode) for variant in variants for mode in MODES)


def missing_lines(names):
    """Return the lines missing in the lists; new names go last, because asv uses the index."""
    lacking = {"EAGER": dict[str, list[str]](), "COMPILED": dict[str, list[str]]()}
    for loss, variant in sorted(names):
        eager, _, mode = variant.partition("+")
        known = lacking["COMPILED" if mode else "EAGER"].setdefault(loss, [])
        # One line is for all modes; a new reference comes first.
        if eager not in known:
            known.insert(0 if eager == "reference" else len(known), eager)
    for table, listed_there in (("EAGER", EAGER), ("COMPILED", COMPILED)):
        for loss, variants in lacking[table].items():
            words = ", ".join(f'"{name}"' for name in (*listed_there.get(loss, ()), *variants))
            comma = "" if ", " in words else ","
            yield f'{table}:         "{loss}": ({words}{comma}),'


def test_the_line_to_add_is_told():
    new = {("island", "mine"), ("island", "mine+compile"), ("island", "mine+compile[x]")}
    known = ", ".join(f'"{variant}"' for variant in EAGER["island"])
    assert list(missing_lines(new | {("fresh", "fused"), ("fresh", "reference")})) == [
        'EAGER:         "fresh": ("reference", "fused"),',
        f'EAGER:         "island": ({known}, "mine"),',
        'COMPILED:         "island": ("fused", "vectorized", "mine"),',
    ]
    assert list(missing_lines({("fresh", "reference")})) == [
        'EAGER:         "fresh": ("reference",),'
    ]


def test_the_lists_are_the_registry():
    names = list(listed())
    assert len(names) == len(set(names))
    missing = list(missing_lines(registered() - set(names)))
    assert not missing, "\n".join(["in bench/suites/parameters.py put", *missing])
    assert set(names) - registered() == RETIRED, "add these to RETIRED, their series go on"
    assert set(names) >= COMPILED_BY_DEFAULT


def test_asv_finds_a_benchmark_for_each_and_no_other(benchmarks):
    found = set()
    for name, benchmark in benchmarks.items():
        if name == "suites.package.track_import_seconds":
            continue
        _, kind, loss, function = name.split(".")
        metric = function.removeprefix("track_")
        assert benchmark.unit == UNITS[metric]
        assert kind == "compiled" or metric != "compile_seconds"
        variants, *_, devices, _ = benchmark._params
        assert tuple(devices) == ASV_DEVICES
        found |= {(loss, variant, metric) for variant in variants}
    expected = {
        (loss, variant, metric)
        for loss, variant in listed()
        for metric in UNITS
        if "+compile" in variant or metric != "compile_seconds"
    }
    assert found == expected


def test_no_benchmark_leaves_its_version_or_its_number_of_calls_to_asv(benchmarks):
    for benchmark in benchmarks.values():
        assert benchmark.version == "1"
        assert benchmark.type == "track"
        assert not benchmark._setups


def test_benchmarks_share_one_folder(benchmarks):
    keys = {b.setup_cache_key for name, b in benchmarks.items() if "package" not in name}
    assert len(keys) == 1
    assert None not in keys


def test_the_import_is_timed_in_fresh_processes(monkeypatch):
    monkeypatch.setattr(package, "PROCESSES", 2)
    first, second = package.track_import_seconds()["samples"]
    assert first != second
    assert min(first, second) > 0


def test_a_commit_that_cannot_be_imported_is_skipped(tmp_path, monkeypatch, capsys):
    broken = tmp_path / "lossbench" / "impls" / "__init__.py"
    broken.parent.mkdir(parents=True)
    (tmp_path / "lossbench" / "__init__.py").touch()
    broken.write_text("raise ImportError('no such thing')")
    found = importlib.util.spec_from_file_location("lossbench.impls", broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    # Python searches the working directory first.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SkipNotImplemented):
        package.track_import_seconds()
    assert "cannot be imported: ImportError: no such thing" in capsys.readouterr().out
