"""Simulated limits of containers: the quotas that are read from each version, and their use."""

import psutil
import pytest
import torch

from lossbench.bench.cli import main
from lossbench.bench.machine import quotas
from lossbench.bench.machine.quotas import (
    Quotas,
    allowed_processors,
    available_memory,
    default_threads,
    read_quotas,
)


@pytest.fixture
def groups(tmp_path):
    """Write a membership and the files of groups, and return the quotas read from them."""

    def write(membership, files):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "self").write_text(membership)
        return read_quotas(tmp_path / "self", tmp_path / "cgroup")

    return write


def test_version_2_is_read_and_the_narrowest_group_counts(groups):
    files = {
        "cpu.max": "max 100000\n",
        "a/cpu.max": "150000 100000\n",
        "a/b/cpu.max": "max 100000\n",
        "a/b/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 7\nthrottled_usec 11\n",
        "a/memory.max": "3000\n",
        "a/memory.current": "1200\n",
        "a/memory.stat": "anon 900\ninactive_file 200\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.events": "low 0\noom 2\noom_kill 2\n",
    }
    found = groups("0::/a/b\n", files)
    assert found == Quotas(1.5, 3000, 2000, throttled=7, oom_kills=2)


def test_version_1_is_read(groups):
    files = {
        "cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/a/cpu.stat": "nr_periods 3\nnr_throttled 2\nthrottled_time 1\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/a/memory.limit_in_bytes": "4096\n",
        "memory/a/memory.usage_in_bytes": "5000\n",
        "memory/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    }
    found = groups("5:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/\n", files)
    assert found == Quotas(0.5, 4096, 0, throttled=2, oom_kills=1)


def test_a_container_sees_the_top_of_its_own_group(groups):
    files = {"memory/memory.limit_in_bytes": "4096\n", "cpu/cpu.cfs_quota_us": "-1\n"}
    assert groups("4:memory:/docker/0f\n3:cpu:/docker/0f\n", files).memory_bytes == 4096


def test_without_groups_there_is_no_limit(groups):
    assert groups("", {}) == Quotas()
    assert read_quotas(quotas.CGROUPS / "nowhere", quotas.CGROUPS / "nowhere") == Quotas()


@pytest.mark.parametrize(("granted", "threads"), [(0.0, 4), (0.5, 1), (2.7, 2), (16.0, 4)])
def test_no_more_threads_than_processors_are_granted(monkeypatch, granted, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(quotas, "read_quotas", lambda: Quotas(processors=granted))
    assert default_threads() == threads


def test_no_more_memory_is_available_than_is_granted(monkeypatch):
    granted = Quotas(memory_bytes=5000, memory_room_bytes=1000)
    monkeypatch.setattr(quotas, "read_quotas", lambda: granted)
    assert available_memory() == 1000
    monkeypatch.setattr(quotas, "read_quotas", Quotas)
    assert available_memory() > 2**20


def test_where_no_process_is_bound_all_processors_are_allowed(monkeypatch, capsys):
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert allowed_processors() == (0, 1, 2)
    assert main(["run", "--affinity", "0"]) == 2
    assert "binds no process to processors" in " ".join(capsys.readouterr().err.split())
