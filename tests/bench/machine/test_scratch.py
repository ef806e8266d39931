import os
import tempfile
import time

import pytest

from lossbench.bench.machine.scratch import LOCK, ScratchFolder, sweep_scratch_folders


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def age(folder):
    long_ago = time.time() - 3600
    os.utime(folder / LOCK, (long_ago, long_ago))


def test_folders_of_dead_runs_are_swept_and_those_of_live_ones_kept(tmp_path):
    dead, young, foreign = (tmp_path / f"lossbench-{n}" for n in ("dead", "young", "foreign"))
    for folder in (dead, young, foreign):
        folder.mkdir()
        (folder / "code").write_text("compiled")
    (dead / LOCK).touch()
    (young / LOCK).touch()
    age(dead)
    live = ScratchFolder()
    age(live.path)
    sweep_scratch_folders()
    assert set(tmp_path.iterdir()) == {young, foreign, live.path}
    live.remove()
    assert set(tmp_path.iterdir()) == {young, foreign}
