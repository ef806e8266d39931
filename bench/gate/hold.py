"""Run the gate: check, count and time every cell in both trees."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from lossbench.bench.errors import UsageError
from lossbench.bench.gate.compare import PHASES, Seen, list_variants, see
from lossbench.bench.gate.confirm import ask_times, confirm
from lossbench.bench.gate.findings import coverage_findings, findings_of
from lossbench.bench.gate.kernels import KernelWorkers
from lossbench.bench.gate.plan import GateCell, GatePlan, Variants, choose_cells
from lossbench.bench.gate.report import GateComparison, GateReport
from lossbench.bench.gate.trees import Tree
from lossbench.bench.limits import GATE_SECONDS
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.stamped import now
from lossbench.bench.timing.sampling import Sampling

Tell = Callable[[str], None]


def hold_gate(base: Tree, head: Tree, plan: GatePlan, tell: Tell) -> GateReport:
    """Compare two trees.

    Args:
        base: the tree to compare with, named ``base``.
        head: the tree to check, named ``head``.
        plan: settings of the gate.
        tell: function to call with a line of progress before each part.

    Raises:
        UsageError: if a tree cannot be imported, or there is nothing to compare.
    """
    start, environment = time.perf_counter(), current_environment(plan.machine, plan.threads)
    with closing(Worker(plan.threads)) as worker, closing(KernelWorkers(plan.threads)) as kernels:
        variants = [plan.narrowed(_ask_variants(worker, tree)) for tree in (base, head)]
        cells = choose_cells(plan, *variants)
        seeing = _Seeing(worker, kernels)
        comparisons = list(_compare_all(seeing, (base, head), cells, plan, tell))
    comparisons = confirm(comparisons, (base, head), plan, tell)
    found = [finding for each in comparisons for finding in findings_of(each, plan.margin)]
    return GateReport(
        environment=environment,
        made=now(),
        base=base.label,
        head=head.label,
        margin=plan.margin,
        budget_seconds=plan.budget_seconds,
        seconds=round(time.perf_counter() - start, 1),
        comparisons=tuple(comparisons),
        findings=(*found, *coverage_findings(*variants)),
    )


def _ask_variants(worker: Worker, tree: Tree) -> Variants:
    try:
        return worker.ask(GATE_SECONDS, list_variants, tree)
    except Lost as lost:
        raise UsageError(str(lost).removeprefix("UsageError: ")) from None


def _compare_all(
    seeing: "_Seeing", trees: tuple[Tree, Tree], cells: list[GateCell], plan: GatePlan, tell: Tell
) -> Iterator[GateComparison]:
    for number, cell in enumerate(cells, 1):
        tell(f"[{number}/{len(cells)}] {cell.case.loss} {cell.variant}, {cell.case}")
        base, head = (seeing.see(tree, cell) for tree in trees)
        comparison = GateComparison(cell.case, cell.variant, base, head, {}, {})
        times = cell.judged and not plan.counts_only
        if times and base.status == head.status == "passed":
            sampling = Sampling(plan.budget_seconds, seed=number)
            try:
                screened = ask_times(seeing.worker, trees, comparison, PHASES, sampling)
                comparison = replace(comparison, screened=screened)
            except Lost as lost:
                comparison = replace(comparison, lost=str(lost))
        yield comparison


@dataclass(frozen=True)
class _Seeing:
    """The workers that see a variant, one for both trees and one for the kernels of each."""

    worker: Worker
    kernels: KernelWorkers

    def see(self, tree: Tree, cell: GateCell) -> Seen:
        case, variant = cell.case, cell.variant
        try:
            seen = self.worker.ask(GATE_SECONDS, see, tree, case, variant, judged=cell.judged)
            # Kernels differ little between sizes, and take seconds to compile.
            found = self.kernels.count(tree, case, variant) if cell.judged else ()
            return replace(seen, kernels=found)
        except Lost as lost:
            return Seen(lost.status, str(lost))
