"""Run the steps of a first light that have not passed, within a time."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lossbench.bench.first_light.child import run_limited
from lossbench.bench.first_light.progress import LightResult, read_progress, write_progress
from lossbench.bench.first_light.steps import SUMMARY_SECONDS, LightStep, limit_seconds

RunStep = Callable[[Sequence[str], Path, float], int | None]
TellStep = Callable[[LightStep, float], None]


def run_steps(
    folder: Path,
    steps: Sequence[LightStep],
    minutes: float,
    tell: TellStep,
    run: RunStep = run_limited,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, LightResult]:
    """Run every step that has not passed, and return the results of all by name.

    The result of a step is on the disk as soon as it is there. A step that fails stops no other.

    Args:
        folder: folder of the first light; ``begin`` has made it.
        steps: all steps in order.
        minutes: time for all steps together.
        tell: function to call before each step, with the step and its limit in seconds.
        run: function that runs a command with a log and a limit, and returns its exit code.
        now: clock, in seconds.

    Raises:
        UsageError: if the folder cannot be read or written.
    """
    results = read_progress(folder)
    end = now() + 60 * minutes - SUMMARY_SECONDS
    ahead = [step for step in steps if not _has_passed(results, step)]
    while ahead:
        start, limit = now(), limit_seconds(end - now(), ahead)
        tell(ahead[0], limit)
        code = run(ahead[0].command(folder), folder / f"{ahead[0].name}.log", limit)
        step = ahead.pop(0)
        earlier = results[step.name].seconds if step.name in results else 0.0
        results[step.name] = _result(code, round(earlier + now() - start, 1))
        write_progress(folder, results)
    return results


def _has_passed(results: dict[str, LightResult], step: LightStep) -> bool:
    return step.name in results and results[step.name].status == "passed"


def _result(code: int | None, seconds: float) -> LightResult:
    if code is None:
        return LightResult("stopped", seconds)
    return LightResult("failed" if code else "passed", seconds, code)
