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
# Variables that change how fast memory is allocated or how many threads run.
VARIABLES = ("MALLOC_", "LD_PRELOAD", "OMP_", "MKL_", "KMP_", "GOMP_", "TORCH", "PYTORCH_", "CUDA_")


@dataclass(frozen=True)
class Environment:
    """The machine and the software of a measurement.

    Attributes:
        machine: a name for the machine, by default the host's name.
        cpu: the model name of the processor.
        cores: the number of logical processors that this process may use.
        memory_bytes: the memory of the machine.
        threads: the number of threads that torch computes with.
        affinity: the processors that this process may use, by number.
        conditions: the load and the frequency settings of the machine when the run began.
        gpu: the name of the CUDA device; empty without one.
        cuda: the CUDA version of the torch build; empty without CUDA.
        torch: the version of torch.
        torch_commit: the commit of torch's source.
        python: the version of Python.
        system: the operating system and its kernel.
        commit: the commit of this repository; empty outside a checkout.
        dirty: whether the checkout has uncommitted changes to the harness or the implementations.
        packages: the versions of lossbench and of the installed libraries beside torch.
        variables: the environment variables of the allocator, the thread pools, torch and CUDA.
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
    def revision(self) -> str:
        """The commit, and whether there were uncommitted changes, in words."""
        return self.commit + " with uncommitted changes" * self.dirty

    @property
    def warnings(self) -> tuple[str, ...]:
        """The conditions that distort the times of this environment, one per line."""
        warnings = self.conditions.warnings(self.cores)
        if 0 < self.quota_processors < self.threads:
            quota = f"{self.quota_processors:g} processors are granted to {self.threads} threads"
            warnings += (f"{quota}: the container is throttled in the middle of a step",)
        return warnings


def current_environment(
    machine: str = "", threads: int = 0, affinity: tuple[int, ...] = ()
) -> Environment:
    """Return this process's environment.

    Args:
        machine: a name for the machine; by default the host's name.
        threads: the number of threads that torch will compute with; by default torch's number
            now, within the quota.
        affinity: the processors that it will use; by default those that it may use now.
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
        # An installed package may lie inside another repository, for which git would answer.
        return ""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
