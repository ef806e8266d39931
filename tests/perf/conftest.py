"""The pytest-benchmark suites: what they measure, and what their files hold beside the times.

    python -m pytest tests/perf --benchmark-enable -k arcface --batch 256

Each case is judged, weighed and timed as by ``lossbench run``, when the first of its tests
asks for it; of what agrees pytest-benchmark then times the step.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest
import torch
from pytest_benchmark.logger import PytestBenchmarkWarning

from lossbench.bench.case.cases import DTYPES, SIZE_AXES, Case
from lossbench.bench.case.presets import PRESETS
from lossbench.bench.errors import UsageError
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.machine.environment import Environment, current_environment
from lossbench.bench.run.plan import RunPlan, choose_device, choose_tasks
from lossbench.bench.run.records import Record
from lossbench.bench.run.session import Session
from lossbench.impls.registry import REFERENCE
from tests.perf.baseline import Baseline, add_options

AXES = (*SIZE_AXES, "dtype")
# What differs from one session to the next on one machine; pytest-benchmark warns of the rest.
VARYING = ("commit", "dirty", "changes", "conditions")
# Before tests/conftest.py sets what the other tests compute with.
THREADS = torch.get_num_threads()

PLAN = pytest.StashKey[RunPlan]()
ENVIRONMENT = pytest.StashKey[Environment]()
BASELINE = pytest.StashKey[Baseline]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lossbench", "lossbench: what tests/perf measures")
    group.addoption("--preset", choices=list(PRESETS), help="a named set of cases")
    for name in SIZE_AXES:
        group.addoption(
            f"--{name}", type=_count, action="append", help="may be given several times"
        )
    group.addoption("--dtype", choices=list(DTYPES), action="append")
    group.addoption("--compiled", action="store_true", help="measure +compile variants too")
    group.addoption("--device", choices=("auto", "cpu", "cuda"), default="auto")
    group.addoption("--budget", type=float, help="seconds to sample a phase of a case")
    group.addoption("--processes", type=_count, default=1, help="fresh ones that sample each case")
    group.addoption("--threads", type=_count, default=THREADS, help="of torch")
    group.addoption("--machine", default="", help="the name that this machine goes by")
    add_options(group)


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text!r}")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    # That there is no baseline, or another machine's, is to be told, and is no error: here and now,
    # and in later phases, which filter anew.
    warnings.simplefilter("default", PytestBenchmarkWarning)
    name = f"{PytestBenchmarkWarning.__module__}.{PytestBenchmarkWarning.__name__}"
    config.addinivalue_line("filterwarnings", f"default::{name}")
    try:
        config.stash[PLAN] = plan = _plan(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    # As it is before a worker sets variables of its own.
    config.stash[ENVIRONMENT] = current_environment(plan.machine, plan.threads)
    config.stash[BASELINE] = Baseline(config)
    config.pluginmanager.register(config.stash[BASELINE])


def _plan(config: pytest.Config) -> RunPlan:
    """Return what is asked for, by the rules of ``lossbench run``."""
    given = {axis: tuple(config.getoption(axis)) for axis in AXES if config.getoption(axis)}
    chosen = config.getoption("preset") or (None if given else "quick")
    device, compiled = choose_device(config.getoption("device")), config.getoption("compiled")
    usual = PRESETS[chosen].budget_seconds if chosen else 2.0
    return RunPlan(
        tasks=choose_tasks(chosen, (), (), device, given, compiled),
        budget_seconds=config.getoption("budget") or usual,
        timeout_seconds=VARIANT_SECONDS,
        threads=config.getoption("threads"),
        machine=config.getoption("machine"),
        processes=config.getoption("processes"),
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "record" not in metafunc.fixturenames:
        return
    # Plain strings, since pytest-benchmark writes them into its files.
    cells = [(case.loss, str(case), variant) for case, variant in metafunc.config.stash[PLAN].cells]
    names = [f"{loss}-{variant}-{size}" for loss, size, variant in cells]
    metafunc.parametrize(("loss", "size", "variant"), cells, ids=names)


@pytest.fixture(scope="session")
def records(request: pytest.FixtureRequest) -> Iterator[Callable[[Case], Mapping[str, Record]]]:
    """Return what measures a Case, with those of its variants that are to be tested."""
    plan = request.config.stash[PLAN]
    selected = _selected(request.session.items)
    torch.set_num_threads(plan.threads)
    with Session(plan, _Silent()) as session:

        @cache
        def of_case(case: Case) -> Mapping[str, Record]:
            variants = dict.fromkeys((REFERENCE, *selected[case.loss, str(case)]))
            found = session.measure(case, list(variants), baseline=False)
            return {record.variant: record for record in found}

        yield of_case


def _selected(items: list[pytest.Item]) -> dict[tuple[str, str], list[str]]:
    selected: dict[tuple[str, str], list[str]] = {}
    for item in items:
        match getattr(item, "callspec", None) and item.callspec.params:
            case {"loss": loss, "size": size, "variant": variant}:
                selected.setdefault((loss, size), []).append(variant)
    return selected


class _Silent:
    """Watches nothing."""

    def working(self, case: Case, task: str) -> None: ...

    def recorded(self, record: Record) -> None: ...


@pytest.fixture
def record(
    request: pytest.FixtureRequest, benchmark: Any, loss: str, size: str, variant: str
) -> Record:
    """Return the Record of one variant of a Case."""
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled: --benchmark-enable runs them")
    plan = request.config.stash[PLAN]
    case = next(case for case, _ in plan.tasks if (case.loss, str(case)) == (loss, size))
    found: Record = request.getfixturevalue("records")(case)[variant]
    if found.step:
        request.config.stash[BASELINE].timed.append(found)
    return found


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    environment = asdict(config.stash[ENVIRONMENT])
    return {name: value for name, value in environment.items() if name not in VARYING}


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    output_json["conditions"] = asdict(config.stash[ENVIRONMENT].conditions)
