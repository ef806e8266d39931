"""The worker's side: a process that is set up, and then answers one question after the other."""

import ctypes
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil
import torch

# It replaces functions of torch when it is first imported, which no contender is to be blamed for.
import torch._dynamo

from lossbench.bench.machine.quotas import available_memory
from lossbench.bench.machine.replies import reply_to

# Of Linux's prctl: which signal a process gets when its parent ends.
PR_SET_PDEATHSIG = 1
MEMORY_SHARE = 0.9
# Large enough that torch shares the work among all of its threads.
PARALLEL_SIZE = 2**20


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker is set up.

    Attributes:
        threads: how many threads torch computes with.
        affinity: the processors that it may use, by number; empty for all.
        memory_bytes: how much it may allocate; by default most of what is available.
        compiled: the folder of compiled code.
        parent: the process that asks.
    """

    threads: int
    affinity: tuple[int, ...]
    memory_bytes: int | None
    compiled: str
    parent: int


def serve(settings: WorkerSettings, questions: Connection, output: Connection) -> None:
    """Say that this process is ready, and answer questions until there are no more.

    Args:
        settings: how to set this process up.
        questions: both ways, a pickled question at a time; an empty one ends it.
        output: the end of a pipe for what is printed.
    """
    _print_to(output)
    _prepare(settings)
    questions.send(None)
    while question := questions.recv_bytes():
        questions.send(reply_to(question))
    _lift_memory_cap()


def _print_to(output: Connection) -> None:
    """Have what this process and its children print, in C too, go to a pipe."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()


def _prepare(settings: WorkerSettings) -> None:
    _die_with(settings.parent)
    # Ctrl-C reaches the whole process group; the parent decides what becomes of the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = settings.compiled
    # The compiler deprecates parts of itself, at every compilation anew.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    # It sets environment variables when it is first imported, as it is for the digits: the guard
    # would blame a contender. It is not imported at the top, since commands import this module.
    import sklearn  # noqa: F401

    if settings.affinity:
        psutil.Process().cpu_affinity(list(settings.affinity))
    torch.set_num_threads(settings.threads)
    _cap_memory(settings.memory_bytes)


def _die_with(parent: int) -> None:
    """Have Linux end this process with its parent, however that ends and however busy this one."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before the request was made.
        os._exit(1)


def _cap_memory(memory_bytes: int | None) -> None:
    """Have an allocation beyond the machine's memory refused, before the system kills for it.

    CUDA reserves addresses far beyond what it uses, so that with it no such cap can be set: there
    the caching allocator is held to a share of the device.
    """
    if torch.cuda.is_available():
        if memory_bytes is not None:
            total = torch.cuda.get_device_properties().total_memory
            torch.cuda.set_per_process_memory_fraction(min(memory_bytes / total, 1.0))
        return
    if sys.platform != "linux":
        # macOS takes such a limit and does not hold to it.
        return
    _limit_addresses(memory_bytes)


def _limit_addresses(memory_bytes: int | None) -> None:
    """Limit the address space to what is in use and what may be allocated.

    The hard limit stays as it is, and so does a limit of the user's own that is lower.
    """
    import resource

    # What the harness itself takes is to lie beneath the limit, and not to be refused by it: the
    # stacks of threads, and the libraries that its statistics load.
    import scipy.stats  # noqa: F401

    torch.ones(PARALLEL_SIZE).exp_()
    room = int(MEMORY_SHARE * available_memory())
    used = psutil.Process().memory_info().vms
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + min(memory_bytes or room, room)
    limit = min([wanted, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _lift_memory_cap() -> None:
    """Let the exit handlers allocate: torch's import a module, and print a traceback if refused."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
