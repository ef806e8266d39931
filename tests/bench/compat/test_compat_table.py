"""The table of what is right on which torch, and what may be chosen by it."""

import json
import platform

import pytest
import torch

from lossbench import impls
from lossbench.bench.cli import compat as command
from lossbench.bench.cli import main
from lossbench.bench.compat import standing
from lossbench.bench.compat.proof import CompatProof
from lossbench.bench.compat.standing import doubt_of, right_where_it_runs
from lossbench.bench.compat.table import CompatTable, known_table, load_table, write_column
from lossbench.bench.errors import UsageError
from lossbench.bench.show.compat import compat_notes
from lossbench.impls.torch_release import OLDEST_TORCH, release_of, running_release
from tests.makers.proofs import RIGHT, WRONG, column

FUSED, COMPILED = (impls.implementation("arcface", v) for v in ("fused", "fused+compile"))
HERE = ".".join(map(str, running_release())) + ".0"
OTHER = "2.99.0"


@pytest.fixture
def known(monkeypatch):
    def put(*columns):
        monkeypatch.setattr(standing, "known_table", lambda: CompatTable(columns))
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    return put


def test_a_release_is_the_major_and_minor_version():
    assert release_of("2.13.0+cpu") == (2, 13)
    assert release_of("2.14.0a0+git1234") == (2, 14)


def test_a_column_takes_the_place_of_an_older_one_and_keeps_its_other_rows(tmp_path):
    path = tmp_path / "results" / "compat.json"
    write_column(path, column("2.11.0", {"fused": WRONG, "vectorized": RIGHT, "gone": RIGHT}))
    write_column(path, column("2.11.1", {"fused": RIGHT}))
    write_column(path, column("2.10.0", {"fused": RIGHT}))
    write_column(path, column("2.11.0", {"fused": RIGHT}, architecture="aarch64"))
    table = load_table(path)
    assert [c.heading for c in table.columns] == ["2.10", "2.11 aarch64", "2.11"]
    assert table.rows_of("arcface") == {
        "fused": [RIGHT, RIGHT, RIGHT],
        "vectorized": [None, None, RIGHT],
    }


def test_another_file_is_refused(tmp_path):
    (tmp_path / "compat.json").write_text("[]")
    with pytest.raises(UsageError, match="expected a table of compat, found something else"):
        load_table(tmp_path / "compat.json")
    with pytest.raises(UsageError, match="No such file"):
        load_table(tmp_path / "none.json")


def test_what_is_wrong_on_this_torch_is_never_chosen(known):
    known(column(HERE, {"fused": RIGHT, "fused+compile": WRONG}))
    assert doubt_of(FUSED, "cpu", OTHER) == ""
    assert "out.loss is off" in doubt_of(COMPILED, "cpu", HERE)


def test_without_a_column_a_record_of_this_torch_proves_its_variant(known):
    known(column(OTHER, {"fused": RIGHT, "fused+compile": RIGHT}))
    assert doubt_of(COMPILED, "cpu", HERE) == ""
    assert doubt_of(COMPILED, "cpu", OTHER).endswith("`lossbench compat arcface` proves it")


def test_without_a_column_an_eager_variant_must_be_right_elsewhere(known):
    known(column(OTHER, {"fused": RIGHT}))
    assert doubt_of(FUSED, "cpu", OTHER) == ""
    assert "--device cuda` proves it" in doubt_of(FUSED, "cuda", OTHER)
    known(column(OTHER, {"fused": WRONG}))
    assert "not proven on torch" in doubt_of(FUSED, "cpu", OTHER)
    known()
    assert "not proven on torch" in doubt_of(FUSED, "cpu", OTHER)


def test_a_variant_that_needs_a_later_torch_is_never_chosen(known):
    known(column(HERE, {"fused": RIGHT}))
    later = type(FUSED)(**{**vars(FUSED), "since": (99, 0)})
    assert doubt_of(later, "cpu", HERE).startswith("needs torch 99.0 or later")


def test_a_variant_is_right_where_it_runs():
    unsupported = CompatProof("unsupported", "needs torch 2.13")
    columns = (column("2.12", {"fused": unsupported}), column("2.13", {"fused": RIGHT}))
    assert right_where_it_runs(columns, "arcface", "fused")
    assert not right_where_it_runs(columns[:1], "arcface", "fused")
    assert not right_where_it_runs(columns, "arcface", "vectorized")


def test_the_notes_name_the_smallest_input():
    table = CompatTable((column("2.11.0", {"fused": WRONG}), column("2.12.0", {"fused": WRONG})))
    assert compat_notes(table, "arcface") == [
        "fused, torch 2.11, 2.12: wrong at 12x8, C=5: out.loss is off"
    ]


def test_the_shipped_table_has_every_release_and_nothing_of_ours_is_wrong():
    releases = {column.release for column in known_table().columns}
    assert {OLDEST_TORCH, (2, 12), (2, 13), (2, 14)} <= releases
    for found in known_table().columns:
        assert found.counts(foreign=False)["wrong"] == 0, found.heading


def test_the_command_writes_the_column_of_this_torch(tmp_path, capsys):
    file = tmp_path / "compat.json"
    eager = ["compat", "center_mse", "--eager", "--device", "cpu", "--out", str(file)]
    assert main(eager) == 0
    (found,) = load_table(file).columns
    assert found.release == running_release()
    assert {row.variant for row in found.rows} >= {"reference", "vectorized", "fused", "sparse"}
    assert not any("+compile" in row.variant for row in found.rows)
    out, errors = capsys.readouterr()
    assert "lossbench's own: " in out
    assert errors.strip() == f"written: {file}"
    assert json.loads(file.read_text())["schema"] == 1


def test_the_command_goes_on_with_what_is_missing(tmp_path, capsys, monkeypatch):
    file, tried = tmp_path / "compat.json", []
    here = column(torch.__version__, {"fused": WRONG}, architecture=platform.machine())
    write_column(file, here)
    monkeypatch.setattr(command, "_ask", lambda *asked: tried.append(asked[2]) or RIGHT)
    again = ["compat", "arcface", "--missing", "--device", "cpu", "--out", str(file)]
    assert main([*again, "--compiled", "--variant", "fused+compile", "--variant", "fused"]) == 0
    assert tried == ["fused+compile"]
    assert main(again) == 0
    assert "fused" not in tried
    assert load_table(file).rows_of("arcface")["fused"] == [WRONG]
    tried.clear()
    assert main(again) == 0
    assert tried == []
    assert "lossbench's own: 0 right" in capsys.readouterr().out.splitlines()[-1]
