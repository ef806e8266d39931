"""A trace written by hand is read: its spans, its live memory and its flame graph."""

import json

import pytest

from lossbench.bench.profile.flame import merge
from lossbench.bench.profile.live import BEFORE, live_bytes, peak_of
from lossbench.bench.profile.trace import read_trace, short_name


def event(name, start, duration, thread=1, category="cpu_op"):
    return {
        "ph": "X", "cat": category, "name": name, "tid": thread, "ts": start, "dur": duration
    }  # fmt: skip


def memory(moment, address, size, device=0):
    args = {"Addr": address, "Bytes": size, "Device Type": device}
    return {"ph": "i", "cat": "cpu_instant_event", "name": "[memory]", "ts": moment, "args": args}


@pytest.fixture
def written(tmp_path):
    """A trace in which the backward of a step runs in another thread."""
    events = [
        event("before", 0, 5),
        event("ProfilerStep#1", 10, 90, category="user_annotation"),
        event("forward", 10, 40, category="user_annotation"),
        event("aten::mm", 12, 10),
        event("aten::empty", 14, 2),
        memory(15, 7, 300),
        memory(16.001, 8, 100),
        memory(16.001, 8, -100),
        event("backward", 55, 40, category="user_annotation"),
        event("aten::add", 60, 20, thread=2),
        memory(65, 9, 50),
        memory(66, 70, 1000, device=1),
        memory(70, 3, -999),
        memory(96, 7, -300),
        event("kernel", 20, 5, category="kernel"),
        event("after", 200, 5),
    ]
    file = tmp_path / "x.pt.trace.json"
    file.write_text(json.dumps({"traceEvents": events}))
    return read_trace(file, "cpu")


def test_spans_are_put_into_the_spans_that_called_them(written):
    def names(span):
        return {span.name: [names(child) for child in span.children]}

    assert [names(step) for step in written.steps] == [
        {
            "ProfilerStep#1": [
                {"forward": [{"aten::mm": [{"aten::empty": []}]}]},
                {"backward": [{"aten::add": []}]},
            ]
        }
    ]


def test_live_bytes_are_counted_by_the_operator_that_took_them(written):
    (step,) = written.steps
    live = live_bytes(written, step)
    assert list(live.index) == [0, 5000, 6001, 6001, 55_000, 60_000, 86_000]
    assert live.to_dict("list") == {
        BEFORE: [0, 0, 0, 0, 0, -999, -999],
        "aten::mm": [0, 300, 400, 300, 300, 300, 0],
        "aten::add": [0, 0, 0, 0, 50, 50, 50],
    }
    peak = peak_of(live, step)
    assert (peak.bytes, peak.moment_ns, peak.phase) == (400, 6001, "forward")
    assert peak.holders == {"aten::mm": 400}


def test_a_compiled_graph_is_shown_with_a_short_name():
    assert short_name("## Call CompiledFxGraph favp6sgtw4z6 ##") == "compiled graph favp6sgt"
    assert short_name("aten::mm") == "aten::mm"


def test_a_flame_graph_adds_up_the_steps(written):
    root = merge(written.steps * 2)
    assert (root.calls, root.nanoseconds) == (2, 180_000)
    forward, backward = root.children.values()
    assert (forward.name, forward.calls, forward.nanoseconds) == ("forward", 2, 80_000)
    assert backward.children["aten::add"].nanoseconds == 40_000
