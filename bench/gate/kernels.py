"""Count the kernels of both trees, each tree's in a process of its own."""

from lossbench.bench.case.cases import Case
from lossbench.bench.gate.compare import count_kernels
from lossbench.bench.gate.trees import Tree
from lossbench.bench.limits import GATE_SECONDS
from lossbench.bench.machine.scratch import ScratchFolder
from lossbench.bench.machine.worker import Worker
from lossbench.bench.measure.kernels import has_kernels
from lossbench.bench.run.order import is_registered
from lossbench.impls.registry import implementation
from lossbench.impls.triton.usage import CompiledKernel


class KernelWorkers:
    """Processes that compile kernels; each starts with its tree's first variant that has some.

    torch registers the operators of kernels by name, once a process.
    """

    def __init__(self, threads: int) -> None:
        """Start none yet.

        Args:
            threads: number of threads of each process.
        """
        self._threads = threads
        # A kernel that is the same in both trees is compiled once.
        self._compiled = ScratchFolder()
        self._workers = dict[str, Worker]()

    def count(self, tree: Tree, case: Case, variant: str) -> tuple[CompiledKernel, ...]:
        """Return the counts of a variant's kernels; empty if it has none.

        Raises:
            Lost: if a kernel does not compile, or the process fails.
        """
        registered = is_registered(case.loss, variant)
        if not registered or not has_kernels(implementation(case.loss, variant)):
            return ()
        if tree.name not in self._workers:
            self._workers[tree.name] = Worker(self._threads, compiled=self._compiled.path)
        worker = self._workers[tree.name]
        return worker.ask(GATE_SECONDS, count_kernels, tree, case, variant)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers.values():
            worker.close()
        self._compiled.remove()
