"""The workflows and the action are YAML as GitHub reads it, and their shell steps work."""

import os
import subprocess

import pytest
import yaml

from lossbench.bench.gate.markdown import MARKER
from lossbench.bench.paths import ROOT

ACTION = ROOT / ".github" / "actions" / "gate" / "action.yml"
WORKFLOWS = [
    *sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    *sorted((ROOT / "docs" / "examples").glob("*.yml")),
]
# As GitHub calls it for `shell: bash`.
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
PYTHON = """#!/bin/sh
printf '%s\\n' "$@" > "$FOLDER/arguments"
echo progress >&2
[ "$FAKE" = silent ] || echo "{marker}" > "$FOLDER/gate.md"
exit "$FAKE_CODE"
"""
GH = """#!/bin/sh
printf '%s ' "$@" >> "$FOLDER/calls"; echo >> "$FOLDER/calls"
case "$*" in
    *--paginate*) printf '%b' "$FAKE_IDS";;
    *) exit "$FAKE_CODE";;
esac
"""


def steps():
    return {
        step.get("name", "setup"): step
        for step in yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    }


def scripts(path):
    """Yield the shell of every step of a workflow or an action."""
    document = yaml.safe_load(path.read_text())
    jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
    for job in jobs:
        yield from (step["run"] for step in job["steps"] if "run" in step)


@pytest.fixture
def step(tmp_path):
    """Give the outcome of a step, with commands that only say how they were called."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("python", PYTHON.replace("{marker}", MARKER)), ("gh", GH)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    files = {"GITHUB_OUTPUT": tmp_path / "output", "GITHUB_STEP_SUMMARY": tmp_path / "summary"}

    def act(name, **inputs):
        found = {"BASE": "HEAD^1", "FILES": "", "COUNTS": "true", "ARGUMENTS": "", "NUMBER": "7"}
        found |= {"GITHUB_REPOSITORY": "a/b", "FOLDER": str(tmp_path), "FAKE": "", "FAKE_CODE": "0"}
        found |= {key: str(path) for key, path in files.items()} | {"FAKE_IDS": ""} | inputs
        path = f"{commands}:{os.environ['PATH']}"
        return subprocess.run(
            [*BASH, steps()[name]["run"]],
            env={"PATH": path, **found},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return act


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_shell_is_sound_and_takes_no_text_from_a_pull_request(path):
    document = yaml.safe_load(path.read_text())
    assert document["name"]
    for script in scripts(path):
        done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), script
        # Text in an expression would become part of the script; environment variables do not.
        assert "${{" not in script


def test_every_variable_of_a_step_is_set_by_the_step():
    given = {"GITHUB_REPOSITORY", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"}
    for name, step in steps().items():
        words = "".join(c if c.isalnum() or c in "_$" else " " for c in step.get("run", ""))
        used = {word.strip("$") for word in words.split() if word.startswith("$")}
        named = {word for word in used if word.isupper()}
        assert named <= given | set(step.get("env", {})), name


@pytest.mark.parametrize("code", ["0", "1", "2"])
def test_the_gate_s_exit_code_is_the_action_s(code, step, tmp_path):
    done = step("Compare with the base", FAKE_CODE=code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output").read_text() == f"code={code}\n"
    assert (tmp_path / "summary").read_text().startswith(MARKER)
    assert step("Pass the verdict on", CODE=code).returncode == int(code)


@pytest.mark.parametrize(
    ("inputs", "arguments"),
    [
        ({}, ["--counts"]),
        ({"COUNTS": "false", "ARGUMENTS": "--loss  arcface"}, ["--loss", "arcface"]),
        ({"FILES": "a.py b.py"}, ["--counts", "--with", "a.py", "--with", "b.py", "--outside"]),
    ],
)
def test_inputs_become_arguments(inputs, arguments, step, tmp_path):
    assert step("Compare with the base", **inputs).returncode == 0
    found = (tmp_path / "arguments").read_text().splitlines()
    files = ["--markdown", f"{tmp_path}/gate.md", "--json", f"{tmp_path}/gate.json"]
    assert found == ["-m", "lossbench", "gate", "HEAD^1", *arguments, *files]


def test_a_gate_that_does_not_run_is_told_in_the_comment(step, tmp_path):
    (tmp_path / "gate.md").write_text("of another run")
    assert step("Compare with the base", FAKE="silent", FAKE_CODE="2").returncode == 0
    text = (tmp_path / "gate.md").read_text()
    assert text.startswith(f"{MARKER}\n### lossbench gate: ⚠️ it did not run\n```\nprogress\n")
    assert (tmp_path / "output").read_text() == "code=2\n"


@pytest.mark.parametrize(
    ("ids", "call"),
    [
        ("", "--method POST repos/a/b/issues/7/comments"),
        ("12\\n34\\n", "--method PATCH repos/a/b/issues/comments/12"),
    ],
)
def test_there_is_one_comment_and_it_is_written_anew(ids, call, step, tmp_path):
    done = step("Write one comment", FAKE_IDS=ids)
    assert (done.returncode, done.stdout) == (0, "")
    listed, written = (tmp_path / "calls").read_text().splitlines()
    assert "--paginate repos/a/b/issues/7/comments" in listed
    assert MARKER in listed
    assert written == f"api --silent {call} -F body=@{tmp_path}/gate.md "


def test_a_token_that_may_not_write_is_a_warning(step):
    done = step("Write one comment", FAKE_CODE="1")
    assert done.returncode == 0
    assert done.stdout.startswith("::warning::no comment was written")
