"""Build the native operators: once, with the system's compiler, into the user's cache.

The library's name holds a hash of the sources, the flags, the compiler's version and torch's
headers, so a change of any of them makes another library. A wheel may hold the library already.
"""

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import torch

NO_COMPILER = "needs a C++17 compiler, or the wheel that holds it"
LIBRARY = "lossbench_native.bin"
"""The library's name in a wheel; Python would take one that ends in ``.so`` for a module."""

SOURCES = Path(str(files(__package__))) / "csrc"
COMPILERS = ("g++", "clang++", "c++")
SECONDS_TO_COMPILE = 600.0
# Under sanitizers the compiler takes several times as long.
SECONDS_WITH_FLAGS = 2400.0
# The oldest release of torch that the library runs with.
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020b000000000000ULL"
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fvisibility=hidden", "-g0")
TARGETS = {
    "plain": (),
    "avx2": ("-mavx2", "-mfma", "-mf16c"),
    "avx512": (
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c"),
        "-mprefer-vector-width=512",
    ),
}
"""The flags of each processor that kernels are compiled for."""


class NativeBuildError(RuntimeError):
    """The compiler failed."""


def prebuilt() -> Path | None:
    """Return the library that the installed wheel holds, or ``None``."""
    path = SOURCES.parent / LIBRARY
    return path if path.is_file() else None


def compiler() -> str | None:
    """Return the C++ compiler: ``$CXX``, or the first that is found."""
    wanted = os.environ.get("CXX")
    if wanted:
        return shutil.which(wanted)
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def problem() -> str | None:
    """Return why there is no library and none can be built, or ``None``."""
    return None if prebuilt() or compiler() else NO_COMPILER


def cache_folder() -> Path:
    """Return the folder of built libraries."""
    given = os.environ.get("LOSSBENCH_CACHE")
    root = given or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "lossbench" / "native"


def library() -> Path:
    """Return the library, built if there is none.

    Flags in ``$LOSSBENCH_NATIVE_FLAGS`` are added to those of the compiler and the linker, as for a
    sanitizer; then no wheel's library is taken.

    Raises:
        NativeBuildError: if there is no compiler, it fails or takes too long, or the cache cannot
            be written to.
    """
    extra = tuple(shlex.split(os.environ.get("LOSSBENCH_NATIVE_FLAGS", "")))
    found = prebuilt()
    if found is not None and not extra:
        return found
    with_ = compiler()
    if with_ is None:
        raise NativeBuildError(f"the native operators: {NO_COMPILER}")
    target = cache_folder() / f"{_key(with_, extra)}.so"
    if not target.exists():
        seconds = SECONDS_WITH_FLAGS if extra else SECONDS_TO_COMPILE
        with _locked(target.with_suffix(".lock"), seconds):
            if not target.exists():
                _build(with_, extra, target, seconds)
    return target


def targets() -> dict[str, tuple[str, ...]]:
    """Return the targets of this machine's architecture, with their flags."""
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return TARGETS if is_x86 else {"plain": TARGETS["plain"]}


def _key(with_: str, extra: tuple[str, ...]) -> str:
    """Return a hash of all that the library depends on."""
    asked = [with_, "--version"]
    try:
        version = subprocess.run(asked, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeBuildError(f"the native operators: {with_} does not run: {error}") from error
    content = hashlib.sha256(version.stdout)
    content.update(repr((FLAGS, extra, targets(), STABLE_ABI, torch.__version__)).encode())
    for path in sorted(SOURCES.iterdir()):
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:24]


class _Deadline:
    """A number of seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def has_passed(self) -> bool:
        return time.monotonic() > self._end


@contextlib.contextmanager
def _locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold a lock file in the cache, so that one process builds and the others wait for it."""
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("w")
    except OSError as error:
        raise NativeBuildError(
            f"the native operators: {path.parent}: {error.strerror}; expected a folder to build "
            "in; $LOSSBENCH_CACHE names another"
        ) from error
    with opened as file:
        deadline = _Deadline(seconds)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline.has_passed():
                    raise NativeBuildError(
                        f"another process has built the native operators for "
                        f"{seconds:.0f} s; its lock is {path}"
                    ) from None
                time.sleep(0.1)
        yield


def _build(with_: str, extra: tuple[str, ...], target: Path, seconds: float) -> None:
    deadline = _Deadline(seconds)
    with _empty_folder(target.with_suffix(".build")) as folder:
        objects = [folder / f"{name}.o" for name in _units()]
        commands = [
            [with_, *FLAGS, *extra, *flags, "-c", str(source), "-o", str(made)]
            for (source, flags), made in zip(_units().values(), objects, strict=True)
        ]
        _run_all(commands, deadline)
        made = folder / "library.so"
        libraries = Path(torch.__file__).parent / "lib"
        link = ["-shared", *extra, *map(str, objects), f"-L{libraries}", "-ltorch_cpu"]
        _run_all([[with_, *link, "-o", str(made)]], deadline)
        # Whole or not there at all, also for a process that does not wait for the lock.
        made.replace(target)


@contextlib.contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    """Make a folder, and remove it; a build that was killed may have left one of this name."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _units() -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Return each object's name with its source and flags: kernels once for each target."""
    headers = Path(torch.__file__).parent / "include"
    units = dict[str, tuple[Path, tuple[str, ...]]]()
    for source in sorted(SOURCES.glob("*.cpp")):
        if not source.stem.endswith("_kernels"):
            units[source.stem] = source, (STABLE_ABI, "-isystem", str(headers))
            continue
        for target, flags in targets().items():
            name = f"{source.stem}-{target}"
            units[name] = source, (f"-DLOSSBENCH_TARGET={target}", "-Wno-psabi", *flags)
    return units


class _Compilation:
    """A run of the compiler, in a process group of its own."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        # Open for as long as the compiler runs.
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=self.errors, process_group=0
        )

    def check(self) -> None:
        """Raise an error if the compiler has failed."""
        with self.errors:
            if self.process.returncode:
                self.errors.seek(0)
                raise NativeBuildError(
                    f"the native operators: {self.command[0]} ended with exit code "
                    f"{self.process.returncode} for {Path(self.command[-1]).name}\n"
                    f"{self.errors.read()}"
                )

    def kill(self) -> None:
        """End the compiler and its own children, which would go on without it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.errors.close()


def _run_all(commands: list[list[str]], deadline: _Deadline) -> None:
    """Run commands, as many at once as torch has threads; raise at the first that fails."""
    waiting, running = list(commands), list[_Compilation]()
    try:
        while waiting or running:
            while waiting and len(running) < torch.get_num_threads():
                running.append(_Compilation(waiting.pop(0)))
            ended = _first_to_end(running, deadline)
            running.remove(ended)
            ended.check()
    finally:
        for each in running:
            each.kill()


def _first_to_end(running: list[_Compilation], deadline: _Deadline) -> _Compilation:
    """Wait until one of the compilers has ended, and return it: the next one may take its place."""
    while True:
        for each in running:
            if each.process.poll() is not None:
                return each
        if deadline.has_passed():
            raise NativeBuildError(
                f"the native operators: not built after {deadline.seconds:.0f} s"
            )
        time.sleep(0.02)
