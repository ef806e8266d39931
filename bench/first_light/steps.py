"""The steps of a first light: what each runs, and the share of the time that it gets."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossbench.bench.run.plan import PLAN

MINUTES = 8.0
"""The minutes of all steps together, by default."""

SUMMARY_SECONDS = 15.0
"""The time that is kept back to write the summary and the archive."""


@dataclass(frozen=True)
class LightStep:
    """A step: a command of its own, with a limit of time.

    Attributes:
        name: name, also of its log and of the run that it makes.
        summary: description of what it does, in a few words.
        seconds: share of the time, when all steps together have ``MINUTES``.
        arguments: arguments of Python, without those that depend on what is there already.
    """

    name: str
    summary: str
    seconds: float
    arguments: tuple[str, ...]

    def command(self, folder: Path) -> list[str]:
        """Return the command; that of a run which has begun goes on with it.

        Args:
            folder: folder of the first light.
        """
        arguments = self.arguments
        if (folder / self.name / PLAN).is_file():
            arguments = ("-m", "lossbench", "run", "--resume", str(folder / self.name))
        return [sys.executable, *arguments]


TESTS = ("tests/impls/test_cuda.py",)
# Where much is broken, the first failures say enough.
MOST_FAILURES = 60


def steps(folder: Path, machine: str = "") -> tuple[LightStep, ...]:
    """Return the steps in their order: the cheapest proof of a fault comes first.

    Args:
        folder: folder of the first light, absolute.
        machine: name of the machine in the records; by default its host name.
    """
    named = ("--machine", machine) if machine else ()
    return (
        LightStep(
            "card",
            "the card, the software and the precision of products",
            15.0,
            ("-m", "lossbench.bench.first_light.card"),
        ),
        LightStep("tests", "the tests that need a GPU", 110.0, _pytest()),
        LightStep(
            "selftest",
            "the harness's own test: equal code, planted slowdowns and buffers, cheaters",
            110.0,
            (
                *("-m", "lossbench", "selftest", "--quick", "--device", "cuda"),
                # One process per trial: the start of three would take most of the time.
                *("--processes", "1", "--budget", "2"),
                *("--out", str(folder / "selftest"), *named),
            ),
        ),
        LightStep("quick", "the preset quick", 90.0, _run(folder, "quick", named)),
        LightStep("cuda", "the preset cuda", 140.0, _run(folder, "cuda", ("--graphs", *named))),
    )


def limit_seconds(left: float, ahead: Sequence[LightStep]) -> float:
    """Return the time of the next step: its share of the time that is left.

    Time that a step leaves over falls to all later ones.

    Args:
        left: seconds that are left for all steps.
        ahead: steps that have not been run, the next one first.
    """
    return max(left, 0.0) * ahead[0].seconds / sum(step.seconds for step in ahead)


def _pytest() -> tuple[str, ...]:
    # Each test has a line of its own, which is there if the time runs out.
    return (
        *("-m", "pytest", *TESTS, "-v", "--tb=short", f"--maxfail={MOST_FAILURES}"),
        # A warning of this machine's libraries is no failure of a kernel.
        *("-p", "no:cacheprovider", "-o", "filterwarnings=default"),
    )


def _run(folder: Path, preset: str, named: tuple[str, ...]) -> tuple[str, ...]:
    place = ("--out", str(folder / preset))
    return ("-m", "lossbench", "run", "--preset", preset, "--device", "cuda", *place, *named)
