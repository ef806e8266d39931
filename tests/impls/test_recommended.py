"""The table that ``auto`` reads: what it holds, what it rests on, and that a wheel has it."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from lossbench import impls
from lossbench.impls.recommended import TABLE, recommendations

ROOT = Path(__file__).parent.parent.parent


def test_the_shipped_table_holds_only_what_is_registered():
    shipped = recommendations()
    assert set(shipped) <= {loss.name for loss in impls.losses()}
    for loss, sheets in shipped.items():
        for each in sheets:
            assert "reference" in each.variants
            assert not [name for name in each.variants if impls.implementation(loss, name).departs]


def test_the_shipped_table_says_what_it_rests_on():
    table = json.loads((ROOT / "impls" / TABLE).read_text())
    named = {each.machine for lines in recommendations().values() for each in lines}
    assert named == set(table["machines"])
    for machine in table["machines"].values():
        assert all(machine[name] for name in ("processors", "torch", "commits", "first", "last"))


def test_the_wheel_holds_the_table(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("bench", "impls", "reference", "lossbench"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert f"lossbench/impls/{TABLE}" in zipfile.ZipFile(wheel).namelist()
