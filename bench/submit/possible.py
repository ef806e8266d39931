"""Tell a Record that can be true from one that cannot, without measuring anything."""

import math
from collections.abc import Iterator
from functools import cache

import torch

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.case.data import DIFFERENTIABLE
from lossbench.bench.format import binary
from lossbench.bench.machine.conditions import BUSY_ELSEWHERE
from lossbench.bench.measure.agreement import FACTOR, rounding_band
from lossbench.bench.measure.memory import Memory
from lossbench.bench.measure.plausibility import EXCESSES, UNKNOWN, check_plausibility
from lossbench.bench.run.records import Record
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import FEWEST_ROUNDS
from lossbench.impls.admission import DEVICES
from lossbench.impls.cost import Phase
from lossbench.impls.registry import REFERENCE, implementation

PHASES: tuple[Phase, ...] = ("forward", "step")
LARGEST = {"batch": 2**24, "dim": 2**20, "classes": 2**28}
"""The largest sizes of a Case that is checked; nobody measures larger ones."""
MOST_SAMPLES = 20_000
"""The most samples of a process; their intervals take long to compute."""
MOST_FLOPS, MOST_BANDWIDTH, LEAST_CALL_SECONDS = 1e16, 5e13, 1e-7
"""Rates that no processor reaches, and a time in which Python calls no module."""
LEAST_STEP_SHARE = 0.5
"""The least time of a step, as a share of the forward's that it contains.

In 1110 of this project's records the smallest share was 0.91: noise lowers it, nothing else can.
"""
ROUNDING = 1e-3


def impossibilities(record: Record) -> Iterator[str]:
    """Yield the reasons why a Record cannot be true, or cannot be checked, one line each."""
    unknown = list(_unknown(record))
    if unknown or record.status != "passed":
        # Nothing is claimed of a variant without times.
        yield from unknown
        return
    unchecked = list(_ceilings(record))
    yield from unchecked
    yield from _agreement(record)
    yield from _memory(record)
    yield from _samples(record)
    if not unchecked:
        yield from _times(record)


def _unknown(record: Record) -> Iterator[str]:
    case = record.case
    if record.origin is not None:
        yield "it is a contender from outside, and its code is not here"
    elif not record.registered:
        yield f"the registry has no variant {record.variant!r} of {case.loss!r}"
    elif case.dtype not in DTYPES or case.device not in DEVICES:
        yield f"unknown dtype or device: {case.dtype}, {case.device}"
    for axis, most in LARGEST.items():
        if getattr(case, axis) > most:
            yield f"{axis} is {getattr(case, axis)}, and the most that is checked is {most}"


def _ceilings(record: Record) -> Iterator[str]:
    """Yield the reasons why the times cannot be checked against the rates of their machine."""
    ceilings = record.ceilings
    if ceilings is None:
        yield "it has no rates of its machine, so its times cannot be checked"
        return
    rates = {**ceilings.flops_per_second, "bytes": ceilings.bytes_per_second}
    calls = ceilings.call_seconds
    missing = [str(name) for name in PHASES if name not in calls]
    missing += [record.case.dtype] * (record.case.dtype not in ceilings.flops_per_second)
    if missing:
        yield f"its machine's rates lack {', '.join(missing)}"
    for name, rate in rates.items():
        if not 0 < rate <= (MOST_BANDWIDTH if name == "bytes" else MOST_FLOPS):
            yield f"no machine has a rate of {rate:.1e} a second for {name}"
    if not all(LEAST_CALL_SECONDS <= seconds < math.inf for seconds in calls.values()):
        yield f"no machine calls a module in {min(calls.values()):.1e} s"
    if not ceilings.elsewhere < BUSY_ELSEWHERE:
        yield "its machine was busy while its rates were measured: measure it again"


def _agreement(record: Record) -> Iterator[str]:
    missing = required_quantities(record.case) - {part.quantity for part in record.agreement}
    if missing:
        yield f"it was not compared with the definition in {', '.join(sorted(missing))}"
    band = rounding_band(record.case.torch_dtype)
    for part in record.agreement:
        # An infinite error of the reference gives an infinite budget.
        if not part.budget <= (FACTOR * part.reference_error + band) * (1 + ROUNDING):
            yield f"the budget of {part.quantity} is {part.budget:.1e}, more than the rule gives"


def _memory(record: Record) -> Iterator[str]:
    memory, case = record.memory, record.case
    if memory is None or record.counters is None:
        yield "its bytes and operators were not counted"
        return
    kept = memory.kept_bytes or 0
    # A module may keep the memory of its gradients from one step to the next.
    if memory.step_peak_bytes + kept < least_bytes(case, record.variant):
        least = binary(least_bytes(case, record.variant))
        yield f"a peak of {binary(memory.step_peak_bytes)}, where its gradients alone take {least}"
    if memory.saved_bytes > memory.forward_peak_bytes:
        yield "it saves more bytes than it ever had"
    if case.device == "cpu" and memory.step_peak_bytes > record.environment.memory_bytes:
        yield f"a peak of {binary(memory.step_peak_bytes)}, more than its machine has"
    # Compiled code may call no operator of torch at all.
    fewest = 0 if record.compiled else 1
    if _smallest(memory) < 0 or memory.allocations < 1 or record.counters.operators < fewest:
        yield "a count that no step has"


def _smallest(memory: Memory) -> int:
    return min(memory.forward_peak_bytes, memory.backward_peak_bytes, memory.saved_bytes)


def _samples(record: Record) -> Iterator[str]:
    if record.forward is None or record.step is None:
        yield "it passed, and has no times"
        return
    timings: dict[Phase, Timing] = {"forward": record.forward, "step": record.step}
    for phase, timing in timings.items():
        for process in timing.processes:
            if len(process.seconds) > MOST_SAMPLES:
                yield f"more than {MOST_SAMPLES} samples of its {phase} in a process"
            if len(process.seconds) >= FEWEST_ROUNDS and len(set(process.seconds)) == 1:
                yield f"all samples of its {phase} are equal, as no clock gives them"
            if record.variant == REFERENCE and process.reference_seconds != process.seconds:
                yield f"the reference's {phase} is not as fast as itself"


def _times(record: Record) -> Iterator[str]:
    if record.forward is None or record.step is None or record.ceilings is None:
        return
    forward, step = record.forward.median_seconds, record.step.median_seconds
    seconds: dict[Phase, float] = {"forward": forward, "step": step}
    reason = check_plausibility(record.case, seconds, record.ceilings)
    yield from [reason] if reason else _below_limit(record)
    if step < LEAST_STEP_SHARE * forward:
        yield "its step takes less time than the forward that is part of it"


def _below_limit(record: Record) -> Iterator[str]:
    for phase in PHASES:
        least = record.limit(phase)
        # A CUDA graph is called once for many kernels, so a call's overhead is no limit of it.
        by_call = least is not None and least.bound == "overhead"
        if record.below_limit(phase) == UNKNOWN and not by_call:
            yield f"its {phase} is below the machine's limit, and {EXCESSES[UNKNOWN]}"


@cache
def least_bytes(case: Case, variant: str) -> int:
    """Return the fewest bytes of a step: its gradients, dense unless the variant's are sparse."""
    inputs = sum(name in DIFFERENTIABLE for name in impls.loss(case.loss).input_names)
    elements = inputs * case.batch * case.dim
    if not implementation(case.loss, variant).sparse:
        trained = (p for p in _reference(case).parameters() if p.requires_grad)
        elements += sum(parameter.numel() for parameter in trained)
    return elements * case.held_dtype.itemsize


def required_quantities(case: Case) -> set[str]:
    """Return the quantities that every variant must have been compared in."""
    loss, reference = impls.loss(case.loss), _reference(case)
    trained = {name for name, p in reference.named_parameters() if p.requires_grad}
    inputs = {name for name in loss.input_names if name in DIFFERENTIABLE}
    state = {f"after.{name}" for name in reference.state_dict()}
    return {f"out.{loss.outputs[0]}", *(f"grad.{name}" for name in inputs | trained), *state}


@cache
def _reference(case: Case) -> torch.nn.Module:
    """Return the reference of a Case without memory: its tensors have shapes only."""
    with torch.device("meta"):
        return impls.loss(case.loss).reference(**case.arguments)
