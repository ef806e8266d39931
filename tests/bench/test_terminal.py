"""The command on a terminal or pipe of any encoding, and under any disposition of signals."""

import os
import subprocess
import sys

import pytest

from lossbench.bench.paths import ROOT

SHOWN = (
    "import signal, sys\n"
    "from lossbench.bench.terminal import set_up\n"
    "set_up()\n"
    "print('12 \\u00b5s, 3 \\u00d7', flush=True)\n"
    "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)\n"
)


def shown(**options):
    command = [sys.executable, "-c", SHOWN]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, **options).stdout


@pytest.mark.parametrize(
    ("encoding", "line"),
    [("ascii", b"12 ?s, 3 ?"), ("cp1252", b"12 \xb5s, 3 \xd7"), ("cp437", b"12 \xe6s, 3 ?")],
)
def test_what_cannot_be_encoded_is_replaced(encoding, line):
    found = shown(env={**os.environ, "PYTHONIOENCODING": encoding})
    assert found.splitlines()[0] == line


def test_what_nohup_ignores_stays_ignored():
    import signal

    ignored = shown(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert ignored.splitlines()[1] == b"True"
    assert shown().splitlines()[1] == b"False"
