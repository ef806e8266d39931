"""Make two runs of two machines, and the report of both, as fixtures."""

from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.measure.compilation import Compilation
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.report import write_report
from tests.makers.records import BAD, ENVIRONMENT, record
from tests.makers.runs import paired, save_run

REFUSED = {"status": "refused", "agreement": (BAD,), "step": None, "forward": None}


def cell(loss, variant, factor, batch=64, classes=10, **changes):
    """Return a record of a variant with a factor of the reference's time, to within 1%."""
    timing, case = paired(factor), Case(loss, batch, 8, classes)
    return record(case=case, variant=variant, step=timing, forward=timing, **changes)


def cells(**changes):
    """Return records of two losses over some sizes; one variant is compiled, one is refused."""
    compilation = Compilation(6.0, 1, 0, cached=False, sweep=(3, 2, 8), recompiles=1)
    input_ = Conformance("all zero", "not finite: out.loss", "finite", "better", "out.loss")
    for loss in ("arcface", "center"):
        for batch, classes in ((64, 10), (256, 10), (64, 100)):
            yield cell(loss, "reference", 1, batch, classes, **changes)
            yield cell(loss, "fused", 0.5, batch, classes, conformance=(input_,), **changes)
            yield cell(loss, "vectorized", 0.8, batch, classes, **changes)
        yield cell(loss, "vectorized+compile", 0.4, compilation=compilation, **changes)
    yield replace(cell("arcface", "pml", 1, **changes), reason="<b> & co", **REFUSED)


def cells_of(machine):
    """Return the records as if a named machine had made them."""
    return cells(environment=replace(ENVIRONMENT, machine=machine))


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Return two runs of the same cells, of two machines."""
    folder = tmp_path_factory.mktemp("runs")
    return [save_run(folder / name, cells_of(name)) for name in ("here", "elsewhere")]


@pytest.fixture(scope="session")
def site(runs, tmp_path_factory):
    """Return the folder of a report of both runs."""
    return write_report(runs, tmp_path_factory.mktemp("site") / "report").parent
