"""The limits of processors and memory that a container or the system sets to this process."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

MEMBERSHIP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
# Version 1 writes the largest multiple of a page for "no limit".
NO_LIMIT = 2**60


@dataclass(frozen=True)
class Quotas:
    """The strictest limits of all control groups of this process; 0 for no limit.

    Attributes:
        processors: the processor time that it may use per second, in seconds.
        memory_bytes: the memory that all processes of its group may use together.
        memory_room_bytes: the part of this memory that is still free.
        throttled: the number of periods in which the group has used up its processor quota.
        oom_kills: the number of processes of the group that the system has killed for memory.
    """

    processors: float = 0.0
    memory_bytes: int = 0
    memory_room_bytes: int = 0
    throttled: int = 0
    oom_kills: int = 0


def read_quotas(membership: Path = MEMBERSHIP, root: Path = CGROUPS) -> Quotas:
    """Return the quotas of this process, from version 1 and version 2 of Linux's control groups.

    Args:
        membership: the file that names the groups of this process.
        root: the folder where the groups are mounted.
    """
    folders = list(_folders(membership, root))
    processors = [found for folder in folders if (found := _processors(folder))]
    memory = [bound for folder in folders if (bound := _memory(folder))]
    rooms = [limit - used for limit, used in memory]
    return Quotas(
        processors=min(processors, default=0.0),
        memory_bytes=min((limit for limit, _used in memory), default=0),
        memory_room_bytes=max(min(rooms, default=0), 0),
        throttled=max((_count(f / "cpu.stat", "nr_throttled") for f in folders), default=0),
        oom_kills=max((_oom_kills(folder) for folder in folders), default=0),
    )


def available_memory() -> int:
    """Return how many bytes can be allocated, within the machine's memory and the quota."""
    free, quotas = psutil.virtual_memory().available, read_quotas()
    return min(free, quotas.memory_room_bytes) if quotas.memory_bytes else free


def total_memory(device: str) -> int | None:
    """Return how many bytes a device has, within the quota; ``None`` for a GPU that is not here."""
    if device == "cuda":
        here = torch.cuda.is_available()
        return torch.cuda.get_device_properties().total_memory if here else None
    total, quota = psutil.virtual_memory().total, read_quotas().memory_bytes
    return min(total, quota) if quota else total


def default_threads() -> int:
    """Return how many threads torch should compute with: at most the processors of the quota."""
    threads, quota = torch.get_num_threads(), read_quotas().processors
    return max(1, min(threads, int(quota))) if quota else threads


def allowed_processors() -> tuple[int, ...]:
    """Return the numbers of the processors that this process may use; all if unknown."""
    process = psutil.Process()
    # macOS has no such call.
    if not hasattr(process, "cpu_affinity"):
        return tuple(range(os.cpu_count() or 1))
    return tuple(process.cpu_affinity() or ())


def _folders(membership: Path, root: Path) -> Iterator[Path]:
    """Yield the folder of each group of this process, and those of the groups around it."""
    for line in _text(membership).splitlines():
        _number, controllers, path = line.split(":", 2)
        for mount in _mounts(root, controllers):
            # In a container the path may be the host's, so that only the mount itself exists.
            folder = mount / path.strip("/")
            yield from (f for f in (folder, *folder.parents) if f.is_relative_to(mount))


def _mounts(root: Path, controllers: str) -> list[Path]:
    """Return the folders where a hierarchy may be mounted; version 2 names no controllers."""
    if not controllers:
        return [root, root / "unified"]
    return [root / name for name in {controllers, *controllers.split(",")}]


def _processors(folder: Path) -> float:
    quota, *period = _text(folder / "cpu.max").split() or [_text(folder / "cpu.cfs_quota_us")]
    whole = period[0] if period else _text(folder / "cpu.cfs_period_us")
    return int(quota) / int(whole) if quota.isdigit() and whole.isdigit() and int(whole) else 0.0


def _memory(folder: Path) -> tuple[int, int] | None:
    """Return the memory limit of a group and its use, or ``None`` without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        bound = _text(folder / limit)
        if bound.isdigit() and int(bound) < NO_LIMIT:
            return int(bound), _used(folder, _text(folder / used))
    return None


def _used(folder: Path, used: str) -> int:
    """Return the use without the file cache, which the system frees on demand."""
    stat = folder / "memory.stat"
    cache = _count(stat, "inactive_file") or _count(stat, "total_inactive_file")
    return max(int(used) - cache, 0) if used.isdigit() else 0


def _oom_kills(folder: Path) -> int:
    return _count(folder / "memory.events", "oom_kill") or _count(
        folder / "memory.oom_control", "oom_kill"
    )


def _count(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
