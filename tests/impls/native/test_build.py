"""The library is built once, whoever asks, and whatever fails says why."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lossbench import impls
from lossbench.bench.cli import main
from lossbench.impls.native import build

ROOT = Path(__file__).parents[3]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")

COUNTING_COMPILER = """#!/bin/sh
[ "$1" = --version ] && exec g++ --version
echo "$@" >> {log}
exec g++ "$@"
"""


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Sources of one line, and an empty cache."""
    sources = tmp_path / "csrc"
    sources.mkdir()
    (sources / "answer.cpp").write_text('extern "C" int answer() { return 42; }\n')
    monkeypatch.setattr(build, "SOURCES", sources)
    monkeypatch.setenv("LOSSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("LOSSBENCH_NATIVE_FLAGS", raising=False)
    return sources


@needs_compiler
@pytest.mark.usefixtures("small")
def test_a_library_is_built_once():
    made = build.library()
    before = made.stat().st_mtime_ns
    assert build.library() == made
    assert made.stat().st_mtime_ns == before


@needs_compiler
@pytest.mark.parametrize("change", ["source", "flags", "torch"])
def test_any_change_makes_another_library(small, monkeypatch, change):
    made = build.library()
    if change == "source":
        (small / "answer.cpp").write_text('extern "C" int answer() { return 43; }\n')
    elif change == "flags":
        monkeypatch.setenv("LOSSBENCH_NATIVE_FLAGS", "-DX=1")
    else:
        monkeypatch.setattr(torch, "__version__", "2.99.0")
    assert build.library() != made


@needs_compiler
def test_processes_that_build_at_once_build_once(small, tmp_path):
    log = tmp_path / "calls"
    compiler = script(tmp_path / "compiler", COUNTING_COMPILER.format(log=log))
    code = (
        "import pathlib, sys\n"
        "from lossbench.impls.native import build\n"
        "build.SOURCES = pathlib.Path(sys.argv[1])\n"
        "print(build.library())"
    )
    environment = {**os.environ, "CXX": compiler}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(small)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    paths = {process.communicate(timeout=120)[0] for process in processes}
    assert len(paths) == 1
    # One source and one link.
    assert len(log.read_text().splitlines()) == 2


@needs_compiler
def test_what_the_compiler_refuses_is_told(small):
    (small / "answer.cpp").write_text("int answer() { return nonsense; }\n")
    with pytest.raises(build.NativeBuildError, match=r"nonsense.* was not declared"):
        build.library()
    assert not list(build.cache_folder().glob("*.so"))


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


BROKEN = {
    "#!/bin/sh\nexit 3\n": r"/compiler ended with exit code 3 for answer\.o",
    "#!/no/such/shell\n": r"/compiler does not run: .*No such file or directory",
    "#!/bin/sh\nkill -9 $$\n": r"ended with exit code -9",
}


SLOW_COMPILER = """#!/bin/sh
[ "$1" = --version ] && exec echo slow
sleep 60 & echo $! > {pid}
wait
"""


@pytest.mark.usefixtures("small")
def test_a_compiler_that_takes_too_long_ends_with_its_children(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "SECONDS_TO_COMPILE", 5.0)
    pid = tmp_path / "pid"
    monkeypatch.setenv("CXX", script(tmp_path / "compiler", SLOW_COMPILER.format(pid=pid)))
    left = build.cache_folder() / f"{build._key(str(tmp_path / 'compiler'), ())}.build"
    (left / "of_a_killed_process").mkdir(parents=True)
    with pytest.raises(build.NativeBuildError, match="not built after 5 s"):
        build.library()
    assert not left.exists()
    assert not is_running(int(pid.read_text()))


def is_running(pid):
    """Return whether a process runs; one that has ended but is not waited for yet does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_a_broken_compiler_is_named(monkeypatch, tmp_path, text, message):
    monkeypatch.setenv("CXX", script(tmp_path / "compiler", text))
    with pytest.raises(build.NativeBuildError, match=message):
        build.library()
    assert not list(build.cache_folder().glob("*.so"))


@needs_compiler
@pytest.mark.usefixtures("small")
def test_a_cache_that_cannot_be_written_to_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOSSBENCH_CACHE", str(tmp_path / "file"))
    message = (
        r"/file/lossbench/native: Not a directory; expected .* \$LOSSBENCH_CACHE names another"
    )
    with pytest.raises(build.NativeBuildError, match=message):
        build.library()


@needs_compiler
@pytest.mark.usefixtures("small")
def test_a_built_library_is_taken_from_a_cache_that_is_read_only(monkeypatch):
    made = build.library()

    def refused(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    # The tests may run as root, whom no mode of a folder stops.
    monkeypatch.setattr(Path, "mkdir", refused)
    assert build.library() == made
    made.unlink()
    with pytest.raises(build.NativeBuildError, match="Permission denied; expected a folder"):
        build.library()


@needs_compiler
@pytest.mark.usefixtures("small")
def test_a_wait_for_another_process_ends(monkeypatch):
    made = build.library()
    made.unlink()
    monkeypatch.setattr(build, "SECONDS_TO_COMPILE", 0.2)
    with made.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(build.NativeBuildError, match="another process"):
            build.library()


@pytest.mark.usefixtures("small")
def test_a_wheel_s_library_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    library = tmp_path / build.LIBRARY
    library.write_bytes(b"")
    assert build.problem() is None
    assert build.library() == library


@pytest.mark.usefixtures("small")
def test_without_a_compiler_the_variant_says_what_it_needs(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    implementation = impls.implementation("softmax", "native")
    assert implementation.unsupported("cpu", torch.float32) == build.NO_COMPILER
    with pytest.raises(build.NativeBuildError, match="needs a C\\+\\+17 compiler"):
        build.library()


@pytest.mark.usefixtures("small")
def test_without_a_compiler_a_run_goes_on_with_the_others(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    size = ("--loss", "center_mse", "--variant", "native", "--batch", "8", "--budget", "0.01")
    run = (*size, "--processes", "1", "--out", str(tmp_path / "run"))
    assert main(["run", *run]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"native: unsupported: {build.NO_COMPILER}" in text
    assert "reference" in text


def test_the_import_builds_and_loads_nothing(tmp_path):
    code = (
        "import torch, lossbench.impls as impls\n"
        "from lossbench.impls.native import operators\n"
        "assert impls.implementation('softmax', 'native')\n"
        "assert not operators._loaded\n"
        "assert not hasattr(torch.ops.lossbench_native, 'cross_entropy')"
    )
    environment = {**os.environ, "LOSSBENCH_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())
