"""Every figure has one entry, and everything else about it follows from the entry."""

import subprocess
import sys
from dataclasses import fields, replace

import pytest

from lossbench.bench.frame import COLUMNS
from lossbench.bench.gate.compare import Seen
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.measure.compilation import Compilation, WarmCompilation
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.memory import Memory
from lossbench.bench.metric import Metric, at
from lossbench.bench.metrics import (
    METRICS,
    SHOWN,
    TRACKED,
    compared,
    derived,
    figures,
    gated,
)
from lossbench.bench.paths import ROOT
from lossbench.bench.ranks.traffic import Collective, Traffic
from lossbench.bench.readings import ABOVE_LIMIT
from lossbench.bench.run.records import Record, RecordLine
from lossbench.bench.suites.cell import Measured, tracked_figures
from lossbench.impls.triton.usage import CompiledKernel
from tests.makers.records import BAD, TIMING, record

KERNELS = (
    CompiledKernel("mine", "M=64, 4 warps", 90, 255, 16, 4096, 3),
    CompiledKernel("reduce", "4 warps", 90, 32, 8, 64, 0),
)
COMPILATION = Compilation(6.0, 1, 0, cached=False, sweep=(3, 2, 8), recompiles=1)
FULL = replace(
    record(),
    memory=Memory(1, 2, 3, 4, kept_bytes=5),
    counters=Counters(20, 1),
    ceilings=Ceilings({"float32": 1e12}, 1e12, {"forward": 1e-6, "step": 5e-7}),
    compilation=COMPILATION,
    warm_compilation=WarmCompilation(0.5, 2.5, cached=True),
    kernels=KERNELS,
    graphed=TIMING,
    traffic=Traffic((Collective("all-reduce", 4096),)),
    configurations=({"mine": {"BLOCK_M": 64, "num_warps": 4}}, {"mine": {"BLOCK_M": 128}}),
)
UNTIMED = record(status="refused", agreement=(BAD,), forward=None, step=None, memory=None)


def test_names_and_headings_are_there_once():
    for names in (
        [metric.name for metric in METRICS],
        [metric.heading for metric in SHOWN],
        [metric.asv_name for metric in TRACKED],
    ):
        assert len(names) == len(set(names))


def test_names_end_in_their_units():
    endings = {"seconds": "_seconds", "bytes": "_bytes", "share": "_share", "1/s": "_per_second"}
    for metric in METRICS:
        if metric.unit in endings:
            assert metric.name.endswith(endings[metric.unit])


def test_a_full_record_has_every_figure_and_each_is_shown_as_text():
    row = {"variant": FULL.variant, "batch": FULL.case.batch, **figures(FULL)}
    row |= derived(row)
    assert [metric.name for metric in METRICS if row.get(metric.name) is None] == []
    assert all(metric.cell(row) for metric in METRICS)
    assert all(metric.words(row[metric.name]) for metric in METRICS)
    assert row["samples_per_second"] == pytest.approx(FULL.case.batch / row["step_seconds"])
    assert row["limit_share"] == pytest.approx(5e-7 / 2.5e-6)
    assert row["below_limit"] == ABOVE_LIMIT


def test_what_was_refused_has_the_figures_of_its_agreement_alone():
    found = figures(UNTIMED)
    assert found == {"error": BAD.error, "budget_share": BAD.error, "worst_quantity": "out.loss"}
    row = {"variant": UNTIMED.variant, "status": "refused", "batch": 4, **found}
    assert set(derived(row).values()) == {None}
    texts = {metric.name: metric.cell(row) for metric in METRICS}
    assert {name for name, text in texts.items() if text} == {*found, "verdict"}
    assert texts["verdict"] == "refused"


@pytest.mark.parametrize("seconds", [None, 0.0, "many"])
def test_what_cannot_be_divided_is_missing(seconds):
    assert set(derived({"batch": 4, "step_seconds": seconds}).values()) == {None}


def test_a_speed_up_without_an_interval_is_shown_alone():
    (metric,) = compared("speedup")
    assert metric.cell({"variant": "fused", "step_speedup": 2.0}) == "2x"
    assert metric.cell({"variant": "reference", "step_speedup": 1.0}) == ""


def test_a_time_below_the_limit_is_told_with_its_reason():
    (metric,) = (metric for metric in METRICS if metric.name == "limit_share")
    row = {"limit_share": 1.31, "bound": "bytes", "below_limit": "in caches"}
    assert metric.cell(row) == "131% bytes, in caches"
    assert metric.cell({**row, "below_limit": ABOVE_LIMIT}) == "131% bytes"
    # asv's rows do not say it.
    assert metric.cell({"limit_share": 0.5, "bound": "bytes"}) == "50% bytes"


def test_a_record_with_every_figure_is_read_as_it_was_written():
    assert RecordLine.model_validate_json(RecordLine(FULL).model_dump_json()).root == FULL


def test_the_configuration_of_the_first_process_is_told():
    assert figures(FULL)["configuration"] == "mine BLOCK_M=64 num_warps=4"


def test_the_frame_has_a_column_for_each():
    assert {m.name: (m.dtype, m.meaning) for m in METRICS}.items() <= COLUMNS.items()


def test_the_gate_reads_its_figures_off_what_it_has_seen():
    memory = Memory(5, 8, 6, 9, kept_bytes=0)
    seen = Seen("passed", "", memory, Counters(20, 3), KERNELS)
    found = {metric.name: metric.of(seen) for metric in gated("bytes", "waits", "note")}
    assert found["step_peak_bytes"] == 8
    assert found["synchronisations"] == 3
    assert found["kernel_registers"] == 255
    assert found["kernel_spilled_bytes"] == 24
    assert found["kernel_shared_bytes"] == 4096
    assert found["matrix_instructions"] == 3
    assert None not in found.values()


def test_asv_reads_its_figures_off_a_part_of_a_record():
    assert {field.name for field in fields(Measured)} <= {field.name for field in fields(Record)}
    measured = Measured(**{field.name: getattr(FULL, field.name) for field in fields(Measured)})
    found = tracked_figures(measured)
    assert set(found) == {metric.asv_name for metric in TRACKED}
    assert found["step_ratio"]["samples"] == [2.0, 1.5]
    assert "step_ratio" not in tracked_figures(replace(measured, variant="reference"))
    refused = Measured(FULL.case, "fused", (BAD,))
    assert tracked_figures(refused) == {"error": BAD.error}


def test_a_figure_comes_from_one_place():
    for wrong in ({}, {"read": at("status"), "derive": len}):
        with pytest.raises(ValueError, match="x_bytes: expected either read or derive"):
            Metric("x_bytes", "bytes", "nothing", **wrong)
    (computed,) = (metric for metric in METRICS if metric.name == "limit_share")
    with pytest.raises(ValueError, match="computed from other figures"):
        computed.of(FULL)


def test_asv_imports_the_figures_without_anything_heavy():
    code = (
        "import sys, lossbench.bench.suites.suite\n"
        "assert not {'torch', 'numpy', 'pandas', 'lossbench.impls'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
