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
    log, compiler = tmp_path / "calls", tmp_path / "compiler"
    compiler.write_text(COUNTING_COMPILER.format(log=log))
    compiler.chmod(0o755)
    code = (
        "import pathlib, sys\n"
        "from lossbench.impls.native import build\n"
        "build.SOURCES = pathlib.Path(sys.argv[1])\n"
        "print(build.library())"
    )
    environment = {**os.environ, "CXX": str(compiler)}
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
