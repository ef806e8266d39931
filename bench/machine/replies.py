"""A worker's reply: the answer to a question, or the reason, as text, why there is none."""

import pickle
from dataclasses import dataclass
from typing import Any, Literal

from lossbench.bench.machine.guards import GUARD, StateChanged
from lossbench.bench.printable import printable

Failure = Literal["failed", "refused", "crashed", "oom", "timeout"]

# After one of these errors every later CUDA call of the process fails as well.
BROKEN_DEVICE = ("CUDA error", "device-side assert", "CUDNN_STATUS", "CUBLAS_STATUS_EXECUTION")
OUT_OF_MEMORY = (
    *("can't allocate memory", "out of memory", "not enough memory", "bad_alloc"),
    "failed to map segment",
    # The stable ABI says only which call failed, and this one allocates.
    "aoti_torch_empty_strided",
)


class Lost(Exception):  # noqa: N818 - what was lost is an answer, and the caller goes on
    """A worker gave no answer to a question; the message is the reason.

    Attributes:
        status: the kind of failure.
    """

    def __init__(self, status: Failure, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """The message that a worker sends back.

    An exception itself is not sent, because a contender may raise one that cannot be pickled,
    unpickled or printed.

    Attributes:
        answer: the pickled return value; ``None`` if there is no answer.
        status: the kind of failure, if there is no answer.
        reason: the type and the text of the exception in one line, if there is no answer.
    """

    answer: bytes | None
    status: Failure = "failed"
    reason: str = ""

    def open(self) -> Any:
        """Return the answer.

        Raises:
            Lost: if there is no answer, or it cannot be unpickled.
        """
        if self.answer is None:
            raise Lost(self.status, self.reason)
        try:
            return pickle.loads(self.answer)
        except Exception as error:  # noqa: BLE001 - unpickling runs what the answer says
            raise Lost("failed", f"its answer cannot be read: {describe(error)}") from None


def reply_to(question: bytes) -> Reply:
    """Return the reply to a pickled question: a function, its arguments, its keywords.

    A changed state of the process is reported in place of the answer or of any exception.
    """
    reply = _answer(question)
    changed = _changed()
    return reply if changed is None else changed


def _answer(question: bytes) -> Reply:
    try:
        # This imports the harness's own code, which the guard must know before a contender runs.
        function, args, kwargs = pickle.loads(question)
        GUARD.begin()
        return Reply(pickle.dumps(function(*args, **kwargs)))
    except BaseException as error:  # noqa: BLE001 - a contender may raise SystemExit too
        return lost_to(error)


def _changed() -> Reply | None:
    try:
        GUARD.check()
    except (StateChanged, MemoryError) as error:
        return lost_to(error)
    except BaseException as error:  # noqa: BLE001 - the check may call a function that was patched
        return Reply(None, "refused", f"it left a process that raises {describe(error)}")
    return None


def lost_to(error: BaseException) -> Reply:
    """Return the reply that reports an exception."""
    text = _text(error)
    if isinstance(error, StateChanged):
        return Reply(None, "refused", printable(text))
    if any(sign in text for sign in BROKEN_DEVICE):
        return Reply(None, "crashed", printable(f"it left CUDA broken: {_first_line(text)}"))
    if isinstance(error, MemoryError) or tells_of_memory(text):
        return Reply(None, "oom", printable(_first_line(text) or "out of memory"))
    return Reply(None, "failed", describe(error))


def tells_of_memory(text: str) -> bool:
    """Return whether a text reports a failed allocation."""
    return any(sign in text for sign in OUT_OF_MEMORY)


def describe(error: BaseException) -> str:
    """Return the type of an exception and its first line, as printable text."""
    name, text = type.__dict__["__name__"].__get__(type(error)), _text(error)
    return printable(f"{name}: {_first_line(text)}" if text else name)


def _text(error: BaseException) -> str:
    try:
        return str(error).strip()
    except BaseException:  # noqa: BLE001 - the text is the contender's own code
        return ""


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0]
