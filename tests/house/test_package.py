"""The installed package has one name and all that it needs, and works in any folder."""

import email
import os
import subprocess
import sys
import tomllib
import zipfile

import pytest

import lossbench
from lossbench.bench import paths
from lossbench.bench.machine import environment
from lossbench.bench.paths import ROOT
from tests.makers.installed import Installation
from tests.makers.wheels import build_wheel

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BUILD = "lossbench.build('arcface', num_classes=10, embedding_dim=4)"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return Installation.make(tmp_path_factory.mktemp("environment"), wheel)


def test_nothing_but_lossbench_lands_in_site_packages(files):
    dist_info = f"lossbench-{PROJECT['version']}.dist-info"
    assert {name.partition("/")[0] for name in files} == {"lossbench", dist_info}


@pytest.mark.parametrize("room", ["bench", "impls", "reference"])
def test_every_module_is_in_the_wheel(room, files):
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / room).rglob("*.py")}
    found = {name.removeprefix("lossbench/") for name in files if name.endswith(".py")}
    assert {name for name in found if name.startswith(f"{room}/")} == modules


def test_what_modules_read_is_in_the_wheel_and_own_runs_are_not(files):
    data = {
        path.relative_to(ROOT)
        for pattern in ("bench/**/*.j2", "bench/**/*.html", "bench/**/*.js", "bench/**/*.css")
        for path in ROOT.glob(pattern)
    }
    data |= {path.relative_to(ROOT) for path in ROOT.glob("results/*/*/records.jsonl")}
    named = ("impls/recommended.json", "py.typed", "bench/dashboard/package.json")
    wanted = {f"lossbench/{path}" for path in data if path.parts[1] != "runs"}
    assert wanted | {f"lossbench/{name}" for name in named} <= set(files)
    assert not [name for name in files if name.startswith("lossbench/results/runs")]


def test_the_metadata_names_torch_alone_and_the_extras(metadata):
    needed = [each for each in metadata.get_all("Requires-Dist") if "extra ==" not in each]
    assert needed == PROJECT["dependencies"]
    assert needed[0].startswith("torch")
    extras = set(metadata.get_all("Provides-Extra"))
    assert extras == {"bench", "cluster", "cuda", "peers", "third-party", "profile", "all"}
    for extra, wanted in PROJECT["optional-dependencies"].items():
        lines = metadata.get_all("Requires-Dist")
        assert len([line for line in lines if f'extra == "{extra}"' in line]) == len(wanted)


def test_the_long_description_has_no_relative_link_to_an_image(metadata):
    text = metadata.get_payload()
    assert "![" in text
    assert text.count("![") == text.count("](https://raw.githubusercontent.com/")


def test_a_checkout_has_the_version_of_its_project():
    assert lossbench.__version__ == PROJECT["version"]


def test_an_installed_command_works_in_an_empty_folder(installed, tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    version = installed.run(folder, "lossbench", "--version")
    assert version.stdout == f"lossbench {PROJECT['version']}\n"
    sizes = ("--batch", "256", "--dim", "512", "--classes", "10000")
    chosen = installed.run(
        folder, "lossbench", "choose", "arcface", *sizes, "--machine", "2-core-epyc"
    )
    assert chosen.returncode == 0, chosen.stderr
    assert "records of 2-core-epyc" in chosen.stdout
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_an_installed_run_keeps_its_records_where_it_was_started(installed, tmp_path):
    size = ("--loss", "center_mse", "--batch", "8", "--budget", "0.05", "--variant", "vectorized")
    size = (*size, "--processes", "1")
    done = installed.run(tmp_path, "lossbench", "run", *size)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "results" / "runs").iterdir()
    show = (
        "import lossbench, sys; frame = lossbench.load(sys.argv[1]);"
        "print(lossbench.__file__, *sorted(set(frame['variant'])))"
    )
    shown = installed.run(tmp_path, "python", "-c", show, str(run))
    package = installed.packages / "lossbench" / "__init__.py"
    assert shown.stdout == f"{package} reference vectorized\n"
    results = installed.run(tmp_path, "lossbench", "results")
    assert "center_mse" in results.stdout


@pytest.mark.parametrize("command", [["gate", "HEAD"], ["choose-table"]])
def test_what_needs_a_checkout_says_so(command, monkeypatch, refused):
    monkeypatch.setattr(paths, "IN_CHECKOUT", False)
    assert "needs a checkout of lossbench" in refused(*command)


def test_a_project_may_have_folders_of_the_same_names(installed, tmp_path):
    for name in ("impls", "reference", "bench", "tests", "results"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise AssertionError('the wrong package')\n")
    (tmp_path / "script.py").write_text(f"import lossbench\nprint({BUILD}.choice.loss)\n")
    script = installed.run(tmp_path, "python", "script.py")
    assert script.stdout == "arcface\n", script.stderr
    command = installed.run(tmp_path, "python", "-m", "lossbench", "list")
    assert command.returncode == 0, command.stderr


def test_the_commit_is_never_that_of_a_repository_around_the_package(tmp_path, monkeypatch):
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert len(environment.current_environment().commit) == 40
    package = tmp_path / "site-packages" / "lossbench"
    package.mkdir(parents=True)
    monkeypatch.setattr(environment, "ROOT", package)
    seen = environment.current_environment()
    assert (seen.commit, seen.dirty) == ("", False)


def run_without(modules, code):
    """Run code in a process that cannot import some packages, as if they were not installed."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({list(modules)!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_loss_is_built_and_trained_with_torch_alone():
    modules = {"click", "cpuinfo", "matplotlib", "numpy", "pandas", "pebble", "psutil", "pydantic"}
    code = f"import torch, lossbench; module = {BUILD}\n"
    code += "out = module(embeddings=torch.randn(3, 4), labels=torch.tensor([0, 1, 2]))\n"
    code += "out.loss.backward(); print(module.choice.loss)"
    done = run_without(modules | {"rich", "scipy", "sklearn"}, code)
    assert done.stdout == "arcface\n", done.stderr


@pytest.mark.parametrize(("missing", "command"), [("click", "list"), ("rich", "list")])
def test_a_command_without_its_extra_says_what_to_install(missing, command):
    code = f"sys.argv[1:] = [{command!r}]\n"
    code += "from lossbench.__main__ import run; sys.exit(run())"
    done = run_without({missing}, code)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert missing in line
    assert line.endswith('pip install "lossbench[bench]"')
