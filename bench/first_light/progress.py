"""The file that says which steps of a first light are done."""

from pathlib import Path
from typing import Literal

from pydantic import RootModel, ValidationError
from pydantic.dataclasses import dataclass

from lossbench.bench.errors import UsageError, writing
from lossbench.bench.files import write_whole

PROGRESS = "first-light.json"

LightStatus = Literal["passed", "failed", "stopped"]


@dataclass(frozen=True)
class LightResult:
    """What became of a step.

    Attributes:
        status: ``passed`` if it ended with exit code 0, ``failed`` if with another, ``stopped`` if
            its time had run out.
        seconds: time that it took, earlier tries included.
        code: exit code; ``None`` if it was stopped.
    """

    status: LightStatus
    seconds: float
    code: int | None = None


class LightProgress(RootModel[dict[str, LightResult]]):
    """The results of steps by name, as JSON."""


def read_progress(folder: Path) -> dict[str, LightResult]:
    """Return the results so far, by the name of the step.

    Raises:
        UsageError: if the folder has no first light, or its file is damaged.
    """
    path = folder / PROGRESS
    try:
        return LightProgress.model_validate_json(path.read_bytes()).root
    except OSError:
        raise UsageError(f"{folder} has no first light: there is no {PROGRESS}") from None
    except ValidationError:
        raise UsageError(f"{path} is damaged; begin another first light") from None


def write_progress(folder: Path, results: dict[str, LightResult]) -> None:
    """Write the results so far, at once and whole.

    Raises:
        UsageError: if the folder cannot be written to.
    """
    with writing(folder):
        write_whole(folder / PROGRESS, LightProgress(results).model_dump_json(indent=1) + "\n")
