"""Wheels are installed beside themselves, and imported here and by child processes."""

import os
import sys
import zipfile

import pytest

from lossbench.bench.first_light.wheels import asked_folder, use_asked_wheels


def make_wheel(folder, name):
    folder.mkdir(exist_ok=True)
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "here = True\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


@pytest.fixture(autouse=True)
def _kept_paths(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "former")


def test_wheels_are_installed_once_and_found(tmp_path, monkeypatch):
    folder = tmp_path / "wheels"
    make_wheel(folder, "brought_along")
    assert use_asked_wheels(["first-light", f"--wheels={folder}"]) == ""
    import brought_along

    assert brought_along.here
    site = str(folder / "site")
    assert os.environ["PYTHONPATH"] == f"{site}{os.pathsep}former"
    monkeypatch.setattr("subprocess.run", None)
    assert use_asked_wheels(["first-light", "--wheels", str(folder)]) == ""


def test_a_folder_without_wheels_is_told_in_a_line(tmp_path):
    problem = use_asked_wheels(["first-light", "--wheels", str(tmp_path)])
    assert problem == f"--wheels {tmp_path}: expected a folder of wheels, found none there"


def test_other_commands_install_nothing():
    assert asked_folder(["run", "--with", "x.py"]) is None
    assert use_asked_wheels(["run", "--wheels", "x"]) == ""
