"""The environment that a Record was made in."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from dataclasses import field
from functools import cache

import psutil
import torch
from pydantic.dataclasses import dataclass

from lossbench.bench.machine.conditions import Conditions, current_conditions
from lossbench.bench.machine.precision import current_precision
from lossbench.bench.machine.quotas import allowed_processors, default_threads, read_quotas
from lossbench.bench.paths import ROOT

PACKAGES = (
    "lossbench",
    "cut-cross-entropy",
    "liger-kernel",
    "numpy",
    "open-metric-learning",
    "pytorch-metric-learning",
    "triton",
)
# Variables that change how fast memory is allocated or how many threads run.
VARIABLES = ("MALLOC_", "LD_PRELOAD", "OMP_", "MKL_", "KMP_", "GOMP_", "TORCH", "PYTORCH_", "CUDA_")
# Those that scikit-learn, torch and the harness set themselves, sooner or later in a process.
NOT_OF_THE_USER = (
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "CUDA_MODULE_LOADING",
    "TORCH_CPP_LOG_LEVEL",
    "TORCHINDUCTOR_CACHE_DIR",
)
# The folders of the checkout that decide what is measured, and how.
MEASURING = ("bench", "impls", "lossbench", "reference")


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
        changes: a hash of the uncommitted changes; empty without any, and in older records.
        precision: the settings of precision of torch's products, TF32 among them, by name; empty
            in older records. Contenders that change one are refused.
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
    changes: str = ""
    precision: dict[str, str] = field(default_factory=dict)

    @property
    def uncommitted(self) -> str:
        """The words after the commit that tell of uncommitted changes; empty without any."""
        return f" with uncommitted changes {self.changes}".rstrip() if self.dirty else ""

    @property
    def revision(self) -> str:
        """The commit, and whether there were uncommitted changes, in words."""
        return self.commit + self.uncommitted

    def processor(self, device: str) -> str:
        """Return the name of the processor that computes on a device, of the CPU or the GPU."""
        return self.gpu if device == "cuda" else self.cpu

    def hardware(self, device: str) -> str:
        """Return what times on a device depend on, in words; only equal ones can be compared."""
        return f"{self.processor(device)}, {self.cores} cores, {self.threads} threads"

    @property
    def warnings(self) -> tuple[str, ...]:
        """The conditions that distort the times of this environment, one per line."""
        warnings = self.conditions.warnings(self.cores)
        if self.gpu and not self.conditions.gpu_megahertz:
            warnings += (
                "the GPU's clock rate cannot be read, so throttling is not seen; install "
                "nvidia-ml-py",
            )
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
    changes = _changes()
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
        dirty=bool(changes),
        packages=_versions(),
        variables=_variables(),
        quota_processors=quotas.processors,
        quota_memory_bytes=quotas.memory_bytes,
        changes=changes,
        precision=current_precision(),
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


def _variables() -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(VARIABLES) and name not in NOT_OF_THE_USER
    }


def _changes() -> str:
    """Return a short hash of the uncommitted changes, new files included; empty without any."""
    status = _git("status", "--porcelain", "--untracked-files=all", "--", *MEASURING)
    if not status:
        return ""
    found = hashlib.sha256(status.encode())
    found.update(_git("diff", "HEAD", "--binary", "--", *MEASURING).encode())
    new = _git("ls-files", "-z", "--others", "--exclude-standard", "--", *MEASURING)
    for name in filter(None, new.split("\0")):
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()[:8]


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
