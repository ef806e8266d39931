"""The conditions of a measurement: the machine's other load, and its frequency settings."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from pydantic.dataclasses import dataclass

from lossbench.bench.machine.quotas import available_memory, read_quotas

SYSTEM = Path("/sys/devices/system/cpu")
PRESSURE = Path("/proc/pressure/memory")
# With this many busy processors or more, a step of two threads can wait for other processes.
BUSY_ELSEWHERE = 0.25
LITTLE_MEMORY = 0.1
HIGH_PRESSURE = 1.0


@dataclass(frozen=True)
class Conditions:
    """Conditions at the start of a run that can distort times; empty or 0 if unknown.

    Attributes:
        load: the average number of processes that were ready to run in the last minute.
        governor: the frequency governor of the processors; ``performance`` is a constant clock.
        turbo: whether the processors may exceed their nominal frequency, ``on`` or ``off``.
        throttles: the number of times that heat has slowed the processors down since the boot.
        memory_available_bytes: the memory that can be allocated without swapping.
        memory_pressure: share of the last ten seconds, in %, that some process waited for memory.
        gpu_processes: the number of other processes that compute on the GPU.
        held_back: the number of times that the container has used up its processor quota.
        gpu_megahertz: the clock rate of the GPU's multiprocessors in MHz, before the run.
        gpu_celsius: the temperature of the GPU, before the run.
    """

    load: float = 0.0
    governor: str = ""
    turbo: str = ""
    throttles: int = 0
    memory_available_bytes: int = 0
    memory_pressure: float = 0.0
    gpu_processes: int = 0
    held_back: int = 0
    gpu_megahertz: float = 0.0
    gpu_celsius: float = 0.0

    def warnings(self, cores: int) -> tuple[str, ...]:
        """Return the conditions that distort times on a number of processors, one per line."""
        return tuple(self._warnings(cores))

    def _warnings(self, cores: int) -> Iterator[str]:
        if self.load >= cores / 2:
            yield (
                f"the load average is {self.load:.1f} on {cores} cores: other processes disturb "
                "the times, those of many threads most"
            )
        if self.governor not in ("", "performance"):
            yield f"the frequency governor is {self.governor}: the clock varies with the load"
        if self.throttles:
            yield f"the processors were slowed down by heat {self.throttles} times"
        if self.memory_pressure > HIGH_PRESSURE:
            yield f"processes wait for memory {self.memory_pressure:.0f}% of the time"
        if 0 < self.memory_available_bytes < LITTLE_MEMORY * psutil.virtual_memory().total:
            yield "less than a tenth of the memory is free: large cases may run out of it"
        if self.gpu_processes:
            yield f"{self.gpu_processes} other processes compute on the GPU"
        if self.held_back:
            yield f"the container was throttled by its processor quota {self.held_back} times"


def current_conditions() -> Conditions:
    """Return the present conditions."""
    return Conditions(
        load=round(psutil.getloadavg()[0], 2),
        governor=_text(SYSTEM / "cpu0/cpufreq/scaling_governor"),
        turbo=_turbo(),
        throttles=_throttles(),
        memory_available_bytes=available_memory(),
        memory_pressure=_memory_pressure(),
        gpu_processes=_gpu_processes(),
        held_back=read_quotas().throttled,
        gpu_megahertz=read_gpu("clock_rate"),
        gpu_celsius=read_gpu("temperature"),
    )


class Usage:
    """Measures how many processors other processes keep busy, from its creation on."""

    def __init__(self, belonging: Iterable[int] = ()) -> None:
        """Start to measure.

        Args:
            belonging: numbers of other processes that belong to what is measured.
        """
        self._belonging = [psutil.Process(number) for number in belonging]
        self._start = self._now()

    def elsewhere(self) -> float:
        """Return the average number of processors that other processes kept busy."""
        wall, busy, own = (now - then for now, then in zip(self._now(), self._start, strict=True))
        return round(max(busy - own, 0.0) / wall, 2) if wall > 0 else 0.0

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        waiting = times.idle + getattr(times, "iowait", 0.0)
        # Linux counts a guest's time in the user's time as well.
        twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = time.process_time() + sum(sum(each.cpu_times()[:2]) for each in self._belonging)
        return time.perf_counter(), sum(times) - waiting - twice, own


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _turbo() -> str:
    boost, no_turbo = _text(SYSTEM / "cpufreq/boost"), _text(SYSTEM / "intel_pstate/no_turbo")
    if not boost and not no_turbo:
        return ""
    return "on" if "1" in (boost, "1" if no_turbo == "0" else "") else "off"


def _throttles() -> int:
    counts = SYSTEM.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    return sum(int(text) for path in counts if (text := _text(path)).isdigit())


def _memory_pressure() -> float:
    some = _text(PRESSURE).split("avg10=")
    return float(some[1].split()[0]) if len(some) > 1 else 0.0


def read_gpu(figure: str) -> float:
    """Return a figure of NVIDIA's management library; 0 without a GPU, or if it cannot be read.

    Args:
        figure: name of the function in ``torch.cuda``: ``clock_rate`` in MHz, or ``temperature``.
    """
    return float(_of_management_library(getattr(torch.cuda, figure)) or 0.0)


def _of_management_library(read: Callable[[], Any]) -> Any:
    if not torch.cuda.is_available():
        return None
    try:
        return read()
    except (ImportError, RuntimeError):
        # The library's Python package is missing, or its driver.
        return None
    except Exception as error:
        # It may not query the card, in a container for example.
        if type(error).__module__ == "pynvml":
            return None
        raise


def _gpu_processes() -> int:
    listed = _of_management_library(torch.cuda.list_gpu_processes) or ""
    # One line per process; without NVIDIA's management library the text is an error message.
    lines = [line.split() for line in listed.splitlines() if line.startswith("process")]
    return sum(line[1] != str(os.getpid()) for line in lines)
