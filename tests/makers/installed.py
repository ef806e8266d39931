"""Install lossbench as a user does: from a wheel, in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

SECONDS = 300


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

    def run(
        self, folder: Path, *command: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in a folder: ``lossbench`` or ``python``."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        program, *arguments = command
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=folder,
            env=kept | variables,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
