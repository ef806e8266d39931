"""The shipped table holds what ``choose`` answers from, and ``auto`` answers as ``choose`` does."""

import json
import random
from dataclasses import replace
from functools import cache

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.shipped import table_text
from lossbench.bench.choose.sources import load_readable
from lossbench.bench.errors import UsageError
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.paths import RECOMMENDED, SHIPPED_RESULTS
from lossbench.impls.choice import Wish, choose_from
from lossbench.impls.loss import Loss
from lossbench.impls.recommended import parse_sheet, recommendations
from lossbench.impls.torch_release import release_of, running_release
from tests.makers.choices import ARC, CROSSING, ISLAND, THREE, ask, elsewhere, lost, seen

NORMFACE = Case("normface", 64, 128, 100)


def sheet_of(records, loss):
    (sheet,) = json.loads(table_text(records))["losses"][loss]
    return sheet


def test_the_table_holds_every_variant_with_its_times_and_what_it_takes():
    worse = (Conformance("NaN", "finite", "finite", "worse", "out.loss"),)
    records = [
        seen("reference", 1e-3, NORMFACE),
        seen("pml", 1e-4, NORMFACE),
        seen("fused", 2e-4, NORMFACE, conformance=worse),
    ]
    sheet = sheet_of(records, "normface")
    assert (sheet["machine"], sheet["device"], sheet["dtype"]) == ("here", "cpu", "float32")
    assert list(sheet["variants"]) == ["reference", "fused", "pml"]
    fused = sheet["variants"]["fused"]
    assert (fused["sizes"], fused["seconds"]) == ([[64, 128, 100]], [pytest.approx(2e-4, rel=0.01)])
    assert (fused["worse"], fused["modelled"]) == (["NaN"], False)
    assert table_text(reversed(records)) == table_text(records)


def test_without_the_reference_there_is_no_sheet():
    fused = seen("fused", 2e-4, NORMFACE)
    found = json.loads(table_text([*THREE, fused]))["losses"]
    assert set(found) == {"island"}


def test_a_table_of_nothing_is_refused():
    with pytest.raises(UsageError, match="no record was timed beside its reference"):
        table_text([lost("reference")])
    with pytest.raises(UsageError, match="'here' has records of several processors"):
        table_text([*THREE, *elsewhere([seen("fused", 1e-4, ARC)], "here", cpu="another")])


@cache
def shipped_records():
    return load_readable([SHIPPED_RESULTS])[0]


def drawn_cases(loss: Loss, count: int):
    """Return random sizes of a Loss, and one measured one."""
    draw = random.Random(loss.name)
    sizes = [
        (2 ** draw.randint(4, 11), 2 ** draw.randint(5, 10), 10 ** draw.randint(1, 4))
        for _ in range(count)
    ]
    return [Case(loss.name, *size) for size in [*sizes, (256, 128, 1000)]]


def test_the_table_is_that_of_the_records():
    assert RECOMMENDED.read_text() == table_text(shipped_records())


@pytest.mark.parametrize("loss", [*map(impls.loss, recommendations())], ids=lambda loss: loss.name)
@pytest.mark.parametrize("wider", [{}, {"sparse": True}, {"compiled": True}], ids=str)
def test_auto_is_choose(loss, wider):
    sheet = next(s for s in recommendations()[loss.name] if s.dtype == "float32")
    if release_of(sheet.torch) != running_release():
        pytest.skip("the records are of another release of torch")
    wish = Wish("cpu", torch.float32, (), **wider)
    for case in drawn_cases(loss, 3):
        found = ask(shipped_records(), case, **wider)
        size = {"batch": case.batch, "dim": case.dim, "classes": case.classes}
        chosen = choose_from(loss.name, wish, size, sheet)
        assert (chosen.variant, case) == (found.best.variant, case)
        beside = {each.candidate.variant for each in found.alternatives}
        assert beside <= {each.variant for each in chosen.passed_over}


def test_the_curve_of_the_table_is_that_of_choose():
    case = replace(ISLAND, batch=100)
    entry = sheet_of(CROSSING, "island")
    sheet = parse_sheet(impls.loss("island"), entry)
    size = {"batch": 100, "dim": case.dim, "classes": case.classes}
    found = sheet.estimates(impls.loss("island"), size)
    assert found["fused"].basis == "modelled"
    assert found["fused"].seconds == pytest.approx(ask(CROSSING, case).best.step_seconds, rel=1e-2)
