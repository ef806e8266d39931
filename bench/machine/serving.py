"""The worker's side: set up the process, then answer one question after the other."""

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil
import torch

from lossbench.bench.machine.compiler import import_dynamo
from lossbench.bench.machine.quotas import available_memory
from lossbench.bench.machine.replies import reply_to

# Linux's prctl option that sets the signal a process gets when its parent ends.
PR_SET_PDEATHSIG = 1
MEMORY_SHARE = 0.9
# A cache on another machine would make every compilation a warm one.
REMOTE_CACHES = (
    "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE",
    "TORCHINDUCTOR_AUTOGRAD_REMOTE_CACHE",
    "TORCHINDUCTOR_AUTOTUNE_REMOTE_CACHE",
    "TORCHINDUCTOR_BUNDLED_AUTOTUNE_REMOTE_CACHE",
)
# Elements of an array that is large enough for torch to use all of its threads.
PARALLEL_SIZE = 2**20


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of a worker process.

    Attributes:
        threads: the number of threads that torch computes with.
        affinity: the processors that it may use, by number; empty for all.
        memory_bytes: the memory that it may allocate; ``None`` for 90% of the available memory,
            or on CUDA no limit.
        compiled: the folder of compiled code.
    """

    threads: int
    affinity: tuple[int, ...]
    memory_bytes: int | None
    compiled: str


def serve(settings: WorkerSettings, questions: Connection, output: Connection) -> None:
    """Report that this process is ready, and answer questions until an empty one.

    Args:
        settings: the settings of this process.
        questions: the connection for pickled questions and their replies, one at a time.
        output: the write end of a pipe for printed output.
    """
    _print_to(output)
    _prepare(settings)
    questions.send(None)
    while question := questions.recv_bytes():
        questions.send(reply_to(question))
    _lift_memory_cap()


def _print_to(output: Connection) -> None:
    """Send the printed output of this process and its children to a pipe, that of C code too."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()


def _prepare(settings: WorkerSettings) -> None:
    _die_with_parent()
    # Ctrl-C reaches the whole process group, and the parent ends the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_code_in(settings.compiled)
    import_dynamo()
    # torch's compiler warns of its own deprecated parts at every compilation.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    if settings.affinity:
        psutil.Process().cpu_affinity(list(settings.affinity))
    torch.set_num_threads(settings.threads)
    _cap_memory(settings.memory_bytes)


def _keep_code_in(folder: str) -> None:
    """Let torch's compiler and Triton cache code in a folder, and nowhere else."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
    os.environ["TRITON_CACHE_DIR"] = os.path.join(folder, "triton")
    os.environ |= dict.fromkeys(REMOTE_CACHES, "0")


def _die_with_parent() -> None:
    """Let Linux kill this process when the one that asks ends, for any reason."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    asking = multiprocessing.parent_process()
    if asking and not asking.is_alive():
        # It ended before the request.
        os._exit(1)


def _cap_memory(memory_bytes: int | None) -> None:
    """Refuse an allocation beyond the machine's memory, before the system kills the process.

    CUDA reserves far more addresses than it uses, so a limit of addresses would stop it: on CUDA
    only the caching allocator is limited, to a share of the device.
    """
    if torch.cuda.is_available():
        if memory_bytes is not None:
            total = torch.cuda.get_device_properties().total_memory
            torch.cuda.set_per_process_memory_fraction(min(memory_bytes / total, 1.0))
        return
    if sys.platform != "linux":
        # macOS accepts such a limit and ignores it.
        return
    _limit_addresses(memory_bytes)


def _limit_addresses(memory_bytes: int | None) -> None:
    """Limit the address space to the addresses in use and the memory that may be allocated.

    The hard limit stays unchanged, and so does a lower limit of the user.
    """
    import resource

    # The harness's own addresses, for the stacks of threads and the libraries of its statistics,
    # must be in use before the limit is computed; otherwise they count as the contender's.
    import scipy.special  # noqa: F401

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
