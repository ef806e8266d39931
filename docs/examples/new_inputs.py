"""Compare steps on the same inputs with steps that get new inputs and parameters.

Run in the repository's folder: ``python docs/examples/new_inputs.py``. It takes a minute. The clock
counts the processor time of one thread, which other processes disturb less than the time on the
wall.
"""

import statistics
import time

import torch

from lossbench import impls
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.feed import Feed
from lossbench.bench.case.workload import Workload
from lossbench.bench.timing.blocks import calls_a_block
from lossbench.bench.timing.clock import CpuClock, Timed

ROUNDS = 31
CELLS = (
    (Case("center_mse", 64, 128, 10), ("reference", "fused", "sparse")),
    (Case("arcface", 64, 128, 10), ("reference", "fused")),
    (Case("triplet_weighted", 256, 128, 10), ("reference", "fused")),
    (Case("arcface", 256, 128, 1000), ("fused",)),
    (Case("center_mse", 256, 512, 1000), ("fused", "sparse")),
    (Case("center_mse", 256, 128, 100_000), ("fused", "sparse")),
    (Case("arcface", 256, 128, 100_000), ("fused",)),
)


def clocks_of(case: Case, variant: str) -> dict[str, CpuClock]:
    """Return the clocks of a variant's step by the way of measuring."""
    workload, entry = Workload.of(case, 1), impls.implementation(case.loss, variant)
    clocks = {}
    for way, validate, fed in (
        ("same", False, False),
        ("checked", True, False),
        ("new", True, True),
    ):
        calls = prepare_calls(workload.module(entry, validate=validate), Feed(workload))
        timed = Timed(calls.step, calls.prepare) if fed else Timed(calls.step)
        clocks[way] = CpuClock(timed, time.thread_time)
    return clocks


def main() -> None:
    """Print the median time of a step on the same inputs, and the changes of it."""
    torch.set_num_threads(1)
    print("same inputs, no checks (µs) | with checks (µs) | and new inputs (µs)")
    for case, variants in CELLS:
        for variant in variants:
            clocks = clocks_of(case, variant)
            calls = calls_a_block(clocks["same"])
            seconds = {way: list[float]() for way in clocks}
            for _ in range(ROUNDS):
                for way, clock in clocks.items():
                    seconds[way].append(clock.block_seconds(calls) / calls)
            found = " | ".join(f"{1e6 * statistics.median(s):.0f}" for s in seconds.values())
            print(f"{case.loss} {variant} {case}: {found}", flush=True)


if __name__ == "__main__":
    main()
