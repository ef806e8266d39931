"""Install wheels into a folder of their own, for a machine that reaches no package registry.

It runs before the command line is imported, since the command line itself may come from a wheel. So
this module imports nothing but the standard library.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COMMAND, OPTION = "first-light", "--wheels"
SITE, STAMP = "site", "installed.txt"
# Nothing is fetched, and nothing that the machine has is replaced.
PIP = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir")


def use_asked_wheels(arguments: Sequence[str]) -> str:
    """Install the wheels of ``--wheels FOLDER``, and let this and child processes import them.

    Args:
        arguments: the arguments of the command line, after the program's name.

    Returns:
        What is wrong, in one line; empty if the wheels can be imported, or none were asked for.
    """
    folder = asked_folder(arguments)
    if folder is None or COMMAND not in arguments[:1]:
        return ""
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        return f"{OPTION} {folder}: expected a folder of wheels, found none there"
    site = folder.absolute() / SITE
    problem = "" if _is_installed(site, wheels) else _install(site, wheels)
    if not problem:
        sys.path.insert(0, str(site))
        former = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(site), former)))
    return problem


def asked_folder(arguments: Sequence[str]) -> Path | None:
    """Return the folder that the command line names; ``None`` if it names none."""
    for index, argument in enumerate(arguments):
        if argument == OPTION and index + 1 < len(arguments):
            return Path(arguments[index + 1])
        if argument.startswith(f"{OPTION}="):
            return Path(argument.partition("=")[2])
    return None


def _is_installed(site: Path, wheels: Sequence[Path]) -> bool:
    stamp = site / STAMP
    return stamp.is_file() and stamp.read_text() == _names(wheels)


def _install(site: Path, wheels: Sequence[Path]) -> str:
    """Install wheels into a folder, and return what is wrong in one line."""
    command = [sys.executable, *PIP, "--upgrade", "--target", str(site), *map(str, wheels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"]
        return f"{OPTION} {site.parent}: {lines[-1]}"
    (site / STAMP).write_text(_names(wheels))
    return ""


def _names(wheels: Sequence[Path]) -> str:
    return "".join(f"{wheel.name}\n" for wheel in wheels)
