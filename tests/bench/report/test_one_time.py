"""One record shows one time everywhere, and variants are ranked by one rule everywhere."""

import json
import math

import pytest

from lossbench.bench.choose.sources import load_records
from lossbench.bench.cli import main
from lossbench.bench.format import si
from lossbench.bench.report import findings
from lossbench.bench.report.data import load_evidence
from lossbench.bench.report.payload import payload
from lossbench.bench.report.readme import renew
from lossbench.bench.run.order import place_by_speed
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.choices import ISLAND, seen
from tests.makers.runs import save_run


def drifting(factor, load):
    """Return times of three processes at a factor of the reference's, all under a load."""
    rounds = [1e-3 * load * math.exp(0.001 * (-1) ** i) for i in range(20)]
    return Timing((Samples(tuple(factor * x for x in rounds), tuple(rounds), 1),) * 3)


def timed(variant, factor, load):
    record = seen(variant, 1e-3, ISLAND)
    object.__setattr__(record, "step", drifting(factor, load))
    return record


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run in which the fastest variant was timed under load, so its time is longer."""
    records = [timed("reference", 1, 1), timed("fused", 0.5, 3), timed("vectorized", 0.8, 1)]
    return save_run(tmp_path_factory.mktemp("drift"), records)


def test_a_time_is_the_median_of_its_record_wherever_it_is_shown(run, tmp_path, capsys):
    expected = {r.variant: si(r.step.median_seconds, "s") for r in load_records([run])}
    evidence = load_evidence([run])
    frame = {row.variant: si(row.step_seconds, "s") for row in evidence.frame.itertuples()}
    (setting,) = evidence.settings
    (answer,) = setting.answers
    chosen = [answer.best, *(runner.candidate for runner in answer.runners_up)]
    assert frame == {each.variant: si(each.step_seconds, "s") for each in chosen} == expected
    (page,) = json.loads(payload(evidence.settings, ["island"]))["settings"]
    (texts,) = page["answers"]
    assert texts["figures"][0][1].startswith(f"{expected['fused']} a step")
    # The sign says that the load differed.
    assert [cells[1] for cells in texts["others"]] == [
        f"{expected[name]}§" for name in ("vectorized", "reference")
    ]
    path = tmp_path / "README.md"
    path.write_text("<!-- winners: none -->\n<!-- end of winners -->\n")
    renew(path, (run,))
    assert f"| {expected['fused']} |" in path.read_text()
    for command in (["results", str(run)], ["choose", "island", *SIZE, "--records", str(run)]):
        assert main(command) == 0
        printed = capsys.readouterr().out
        assert all(time in printed for time in expected.values())


SIZE = [
    f"--{axis}={getattr(ISLAND, axis)}" for axis in ("batch", "dim", "classes")
]  # fmt: skip


def test_variants_are_ranked_by_the_paired_speed_up_wherever_they_are(run, capsys):
    ranked = [each.variant for each in sorted(load_records([run]), key=place_by_speed)]
    assert ranked == ["fused", "vectorized", "reference"]
    evidence = load_evidence([run])
    (answer,) = evidence.settings[0].answers
    assert [answer.best.variant, *(r.candidate.variant for r in answer.runners_up)] == ranked
    (won,) = findings.winners(evidence.frame).to_dict("records")
    assert won["variant"] == ranked[0]
    assert main(["results", str(run)]) == 0
    printed = capsys.readouterr().out
    assert sorted(ranked, key=lambda name: printed.index(f"\n  {name}")) == ranked
