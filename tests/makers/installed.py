"""Install lossbench as a user does: from a wheel of this tree, in an environment of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lossbench.bench.paths import ROOT

# The build reads these, and results/.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "lossbench", "bench", "impls", "reference")
SECONDS = 300


def build_wheel(folder: Path) -> Path:
    """Build a wheel into a folder, from a copy of this tree, since a build leaves files in it."""
    copy = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_file():
            copy.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, copy)
        else:
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=unwanted)
    shutil.copytree(ROOT / "results", copy / "results", ignore=shutil.ignore_patterns("report"))
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    subprocess.run([*pip, "-w", str(folder), str(copy)], check=True, timeout=SECONDS)
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installation:
    """An environment with an installed wheel of lossbench and the dependencies of this one.

    Attributes:
        folder: folder of the environment.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path, wheel: Path) -> "Installation":
        """Make the environment and install the wheel in it."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        made = cls(folder)
        (made.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = (sys.executable, "-m", "pip", "--python", str(made.python), "install", "-q")
        subprocess.run([*pip, "--no-deps", "--force-reinstall", str(wheel)], check=True)
        return made

    @property
    def python(self) -> Path:
        """The path of the environment's interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """The path of the environment's site-packages."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def run(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in a folder: ``lossbench`` or ``python``."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        program, *arguments = command
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
