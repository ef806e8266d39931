"""TensorBoard shows the profiles through its plugin, on this machine only."""

import gzip
import json
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import psutil
import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.cli import main
from lossbench.bench.paths import ROOT
from lossbench.bench.profile import serving
from lossbench.bench.profile.profiling import profile_folder
from lossbench.bench.profile.recording import record_steps

CASE = Case("arcface", batch=32, dim=16, classes=10)
RUN = "arcface-32x16-C10-float32-cpu"
VARIANTS = ("reference", "fused")
STEPS = 3
START_SECONDS = 60

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, serving.NEEDED)), reason="torch-tb-profiler is not installed"
)


def test_a_tensorboard_that_stops_at_its_start_is_told_in_a_line(monkeypatch, refused):
    stopped = subprocess.CompletedProcess([], 1, "", "Traceback ...\nImportError: no such name\n")
    monkeypatch.setattr(serving.subprocess, "run", lambda *_, **__: stopped)
    message = refused("profile", "island", "reference", "--serve", "--port", str(free_port()))
    assert "TensorBoard stops when it starts: ImportError: no such name" in message


def get(port, route, **query):
    """Return the answer of a route of the plugin."""
    url = f"http://{serving.SERVED_HOST}:{port}/data/plugin/{serving.PLUGIN}{route}?{urlencode(query)}"
    with urlopen(url, timeout=30) as answer:
        body = answer.read()
        return json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


def free_port():
    with socket.socket() as listener:
        listener.bind((serving.SERVED_HOST, 0))
        return listener.getsockname()[1]


def started(folder, port, output, *runs):
    """Return the process of a server, as soon as it has read all runs."""
    code = (
        "import sys; from pathlib import Path; from lossbench.bench.profile.serving import serve;"
        "serve(Path(sys.argv[1]), int(sys.argv[2]))"
    )
    arguments = [sys.executable, "-c", code, str(folder), str(port)]
    with output.open("w") as file:
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if get(port, "/runs")["runs"] == list(runs):
                return process
        except URLError:
            pass
        time.sleep(0.2)
    process.kill()
    raise AssertionError(f"no server: {output.read_text()}")


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    """The folder of all profiles, and the operators by variant."""
    out = tmp_path_factory.mktemp("profiles")
    folder = profile_folder(out, CASE)
    return out, {name: record_steps(CASE, name, STEPS, folder) for name in VARIANTS}


@pytest.fixture(scope="module")
def server(profiles, tmp_path_factory):
    """A port at which TensorBoard serves the profiles, and its process."""
    port = free_port()
    process = started(profiles[0], port, tmp_path_factory.mktemp("server") / "output", RUN)
    yield port, process
    process.terminate()
    process.wait(30)


def test_tensorboard_shows_the_variants_side_by_side(server):
    port, _ = server
    assert get(port, "/runs") == {"runs": [RUN], "loading": False}
    assert {"Overview", "Operator", "Memory", "Trace"} <= set(get(port, "/views", run=RUN))
    assert set(get(port, "/workers", run=RUN, view="Overview")) == set(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensorboard_has_the_steps_the_operators_and_the_memory(server, profiles, variant):
    port, _ = server
    asked = {"run": RUN, "worker": variant, "span": "default"}
    overview = get(port, "/overview", view="Overview", **asked)
    assert len(overview["steps"]["rows"]) == STEPS
    table = get(port, "/operation/table", view="Operator", group_by="Operation", **asked)
    calls = {row["name"]: row["calls"] for row in table["data"]}
    for row in profiles[1][variant]:
        if row.name.startswith("aten::"):
            assert calls[row.name] == row.calls
    memory = json.dumps(get(port, "/memory", view="Memory", **asked))
    assert "aten::mm" in memory


def test_tensorboard_listens_on_this_machine_alone(server):
    _, process = server
    parent = psutil.Process(process.pid)
    listening = [
        connection.laddr.ip
        for one in (parent, *parent.children(recursive=True))
        for connection in one.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == [serving.SERVED_HOST]


@pytest.mark.parametrize("inherited", [signal.default_int_handler, signal.SIG_IGN])
def test_ctrl_c_ends_tensorboard_quietly(tmp_path, inherited):
    output, port = tmp_path / "output", free_port()
    before = signal.signal(signal.SIGINT, inherited)
    try:
        process = started(tmp_path, port, output)
    finally:
        signal.signal(signal.SIGINT, before)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert [line for line in output.read_text().splitlines() if "TensorFlow" not in line] == [
        f"TensorBoard {version('tensorboard')} at http://127.0.0.1:{port}/ (Press CTRL+C to quit)"
    ]


def test_a_port_in_use_is_reported_before_anything_runs(tmp_path, capsys):
    with socket.create_server((serving.SERVED_HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["profile", "arcface", "--serve", "--port", port, "--out", str(tmp_path)]) == 2
    assert f"--port {port} of 127.0.0.1 cannot be opened" in capsys.readouterr().err
