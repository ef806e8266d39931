"""The engines of ``--on``: what is refused, what is told, and how one machine is shared."""

import sys

import pytest

from lossbench.bench.cli import main
from lossbench.bench.run.plan import RunPlanFile, read_plan, start_run
from lossbench.bench.sweep import on_dask
from lossbench.bench.sweep.engines import engine_warning, is_engine
from lossbench.bench.sweep.on_dask import shares_of
from tests.house.test_layering import files, imports
from tests.makers.sweeps import sweep_plan


@pytest.mark.parametrize("name", ["dask://10.0.0.1:8786", "dask://tls://x:1", "local:4", "slurm"])
def test_an_engine_is_known_by_its_name(name):
    assert is_engine(name)


@pytest.mark.parametrize("name", ["dask", "dask://", "local", "local:0", "local:-1", "lsf", "x y"])
def test_another_name_is_refused_in_a_line(refused, name):
    line = refused("run", "--on", name)
    assert f"expected dask://HOST:PORT, local:N with N workers, or slurm, got {name!r}" in line


def test_a_scheduler_that_is_not_there_is_told_within_the_limit(refused, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(on_dask, "CONNECT_SECONDS", 0.5)
    line = refused("run", "--on", "dask://127.0.0.1:1", "--out", str(tmp_path / "run"))
    assert "no dask scheduler answers at tcp://127.0.0.1:1" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("engine", "module", "package"),
    [
        ("dask://127.0.0.1:1", "distributed", "dask.distributed"),
        ("local:2", "distributed", "dask.distributed"),
        ("slurm", "submitit", "submitit"),
    ],
)
def test_a_missing_package_is_told_with_its_extra(refused, monkeypatch, engine, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    line = refused("run", "--on", engine, "--loss", "center")
    assert f"--on needs {package} (" in line
    assert "pip install 'lossbench[cluster]'" in line


def test_without_slurm_the_other_engines_are_named(refused, monkeypatch, tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    line = refused("run", "--on", "slurm", "--loss", "center")
    assert "the command sbatch is not found" in line
    assert "--on dask://HOST:PORT" in line


def test_processors_of_this_machine_are_not_for_other_machines(refused):
    line = refused("run", "--on", "dask://host:1", "--affinity", "0")
    assert "--affinity names processors of this machine" in line


@pytest.mark.parametrize(
    ("workers", "shares"),
    [
        (2, {"0": (4, 5), "1": (6, 7)}),
        (3, {"0": (4,), "1": (5,), "2": (6,)}),
        (6, {"0": (4,), "1": (5,), "2": (6,), "3": (7,), "4": (4,), "5": (5,)}),
    ],
)
def test_workers_share_the_processors_of_a_machine(workers, shares):
    assert shares_of((4, 5, 6, 7), workers) == shares


def test_more_workers_than_processors_are_warned_of():
    crowded = sweep_plan(engine="local:4", affinity=(0, 1))
    assert engine_warning(crowded).startswith("4 workers share 2 processors")
    assert engine_warning(sweep_plan(engine="local:2", affinity=(0, 1))) == ""
    assert engine_warning(sweep_plan(engine="dask://host:1")) == engine_warning(sweep_plan()) == ""


def test_a_plan_keeps_its_engine(tmp_path):
    start_run(tmp_path / "run", sweep_plan(engine="local:2", threads=0))
    assert read_plan(tmp_path / "run").engine == "local:2"
    former = RunPlanFile(sweep_plan()).model_dump()
    del former["engine"]
    assert RunPlanFile.model_validate(former).root == sweep_plan()


def test_a_run_is_resumed_on_the_engine_that_is_given(tmp_path, refused, monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(on_dask, "CONNECT_SECONDS", 0.5)
    start_run(tmp_path, sweep_plan(engine="local:2"))
    line = refused("run", "--resume", str(tmp_path), "--on", "dask://127.0.0.1:1")
    assert "no dask scheduler answers at tcp://127.0.0.1:1" in line
    assert main(["run", "--resume", str(tmp_path), "--budget", "1"]) == 2


def test_no_engine_is_imported_where_none_is_used():
    for path in files("bench"):
        at_top = {module.partition(".")[0] for module, at_top in imports(path) if at_top}
        assert not at_top & {"cloudpickle", "dask", "distributed", "submitit"}, path
