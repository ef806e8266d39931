"""Find work that goes on after a call has returned, from the processor time of other threads.

A thread of OpenMP spins for some milliseconds after a parallel region, in case another follows. So
the time after a call is compared with the time after a parallel region of the harness itself.
"""

import time
from collections.abc import Callable

import torch

# Time after a call in which other threads are watched; at least twice the call's own time.
WATCHED_SECONDS, LONGEST_SECONDS = 0.02, 0.2
# Processor time after a call that counts as work: more than this, and than this share of the call.
LEAST_SECONDS, SHARE = 1e-3, 0.1
# GNU's OpenMP spins about as long on any processor; other processes can hide a part of it.
SPINNING_SECONDS = 4e-3
TRIES = 3
# Elements of an array that is large enough for torch to use all of its threads.
PARALLEL_SIZE = 2**20
# Without a call, other threads come to rest within this many times the watched time.
REST_TRIES = 20

_now, _of_process, _of_thread = time.perf_counter, time.process_time, time.thread_time


class Lingering:
    """Watches the other threads of this process; made before any contender has been called."""

    def __init__(self) -> None:
        """Measure how long other threads spin after a parallel region."""
        numbers = torch.ones(PARALLEL_SIZE)
        numbers.exp_()
        others = torch.get_num_threads() - 1
        self._spinning = max(_seconds_of_others(WATCHED_SECONDS), others * SPINNING_SECONDS)

    def is_at_rest(self) -> bool:
        """Return whether the other threads come to rest, while no call is made."""
        return any(_seconds_of_others(WATCHED_SECONDS) <= LEAST_SECONDS for _ in range(REST_TRIES))

    def works_on(self, call: Callable[[], object]) -> bool:
        """Return whether other threads work after a call has returned, more than they spin.

        Three calls in a row must show it, because another part of the process may work by chance.
        """
        return all(self._is_late(call) for _ in range(TRIES))

    def _is_late(self, call: Callable[[], object]) -> bool:
        start = _now()
        result = call()
        spent = _now() - start
        late = _seconds_of_others(max(WATCHED_SECONDS, min(2 * spent, LONGEST_SECONDS)))
        del result
        return late > max(LEAST_SECONDS, SHARE * spent) + 2 * self._spinning


def _seconds_of_others(watched: float) -> float:
    process, own = _of_process(), _of_thread()
    time.sleep(watched)
    return (_of_process() - process) - (_of_thread() - own)
