"""The environment that a Record was made in."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache

import psutil
import torch
from pydantic.dataclasses import dataclass

from lossbench.bench.machine.conditions import Conditions, current_conditions
from lossbench.bench.machine.quotas import allowed_processors, default_threads, read_quotas
from lossbench.bench.paths import ROOT

PACKAGES = (
    "lossbench",
    "liger-kernel",
    "numpy",
    "open-metric-learning",
    "pytorch-metric-learning",
    "triton",
)
# Settings from outside that change how fast memory is got or how many threads run.
VARIABLES = ("MALLOC_", "LD_PRELOAD", "OMP_", "MKL_", "KMP_", "GOMP_", "TORCH", "PYTORCH_", "CUDA_")


@dataclass(frozen=True)
class Environment:
    """Where and with what something was measured.

    Attributes:
        machine: a name for it, by default the host's.
        cpu: the processor's own name.
        cores: logical processors that this process may use.
        memory_bytes: of the machine.
        threads: that torch computes with.
        affinity: the processors that this process may use, by number.
        conditions: what else the machine did when the run began, and how it is set.
        gpu: the CUDA device's name, or empty.
        cuda: the CUDA version of the torch build, or empty.
        torch: its version.
        torch_commit: the commit of its source.
        python: its version.
        system: operating system and kernel.
        commit: of this repository; empty outside a checkout.
        dirty: whether the checkout differed from the commit in what is measured or measures.
        packages: versions of what is installed beside torch.
        variables: settings of the allocator and the thread pools.
        quota_processors: the processor time per second that the container may use; 0 for no limit.
        quota_memory_bytes: the memory that the container may use; 0 for no limit.
    """

    machine: str
    cpu: str
    cores: int
    memory_bytes: int
    threads: int
    affinity: tuple[int, ...]
    conditions: Conditions
    gpu: str
    cuda: str
    torch: str
    torch_commit: str
    python: str
    system: str
    commit: str
    dirty: bool
    packages: dict[str, str]
    variables: dict[str, str]
    quota_processors: float = 0.0
    quota_memory_bytes: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What spoils the times of this environment, a line each."""
        warnings = self.conditions.warnings(self.cores)
        if 0 < self.quota_processors < self.threads:
            quota = f"{self.quota_processors:g} processors are granted to {self.threads} threads"
            warnings += (f"{quota}: the container is held back in the middle of a step",)
        return warnings


def current_environment(
    machine: str = "", threads: int = 0, affinity: tuple[int, ...] = ()
) -> Environment:
    """Return this process's environment.

    Args:
        machine: a name to go by; by default the host's.
        threads: how many torch will compute with; by default what it has now.
        affinity: the processors it will use; by default those that it may use now.
    """
    allowed, quotas = affinity or allowed_processors(), read_quotas()
    return Environment(
        machine=machine or platform.node(),
        cpu=_cpu_name(),
        cores=len(allowed),
        memory_bytes=psutil.virtual_memory().total,
        threads=threads or default_threads(),
        affinity=allowed,
        conditions=current_conditions(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        cuda=torch.version.cuda or "",
        torch=torch.__version__,
        torch_commit=torch.version.git_version or "",
        python=platform.python_version(),
        system=platform.platform(),
        commit=_git("rev-parse", "HEAD"),
        dirty=bool(_git("status", "--porcelain", "--", "bench", "impls", "lossbench", "reference")),
        packages=_versions(),
        variables={k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
        quota_processors=quotas.processors,
        quota_memory_bytes=quotas.memory_bytes,
    )


@cache
def _cpu_name() -> str:
    import cpuinfo

    return str(cpuinfo.get_cpu_info().get("brand_raw", platform.processor()))


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git(*arguments: str) -> str:
    if not (ROOT / ".git").exists():
        # An installed package, or an unpacked archive, may lie inside another repository.
        return ""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
