"""Make the wheels of this tree.

``python -m tests.makers.wheels FOLDER`` makes two of them: a pure one, and one of this machine's
kind, which holds the native operators. auditwheel gives that one its tag: the oldest glibc that the
library runs with, which is that of the system, or of the manylinux container, that it is built on.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from lossbench.bench.paths import ROOT
from lossbench.impls.native.build import LIBRARY, library

# The build reads these, and results/.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "lossbench", "bench", "impls", "reference")
SECONDS = 300


def build_wheel(folder: Path, *options: str, operators: Path | None = None) -> Path:
    """Build a wheel into a folder, from a copy of this tree, since a build leaves files in it.

    Args:
        folder: folder to write the wheel and the copy to; it has no wheel yet.
        options: options of setuptools' ``bdist_wheel``.
        operators: library of native operators for the wheel to hold.
    """
    copy = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_file():
            copy.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, copy)
        else:
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=unwanted)
    shutil.copytree(ROOT / "results", copy / "results", ignore=shutil.ignore_patterns("report"))
    if operators is not None:
        shutil.copy(operators, copy / "impls" / "native" / LIBRARY)
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    settings = [f"--config-settings=--build-option={option}" for option in options]
    command = [*pip, *settings, "-w", str(folder), str(copy)]
    subprocess.run(command, check=True, timeout=SECONDS)
    (wheel,) = folder.glob("*.whl")
    return wheel


def build_platform_wheel(folder: Path) -> Path:
    """Build a wheel that holds the native operators; its tag names this kind of machine.

    No module of the wheel is compiled for a Python, so every Python takes it.
    """
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return build_wheel(folder, f"--plat-name={platform}", operators=library())


def make_wheels(folder: Path) -> None:
    """Make both wheels in a folder, in place of those that it has."""
    for former in folder.glob("lossbench-*.whl"):
        former.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        pure, of_platform = (Path(scratch, name) for name in ("pure", "platform"))
        for made in (pure, of_platform):
            made.mkdir()
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(build_wheel(pure), folder)
        wheel = build_platform_wheel(of_platform)
        # torch has its own libraries, and loads them before the operators.
        audit = (sys.executable, "-m", "auditwheel", "repair", "--strip", "--exclude=libtorch*")
        subprocess.run([*audit, "-w", str(folder), str(wheel)], check=True, timeout=SECONDS)
    for path in sorted(folder.glob("lossbench-*.whl")):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    make_wheels(Path(sys.argv[1]))
