"""Every situation of a training loop, by name, in the order of the matrix."""

from collections.abc import Mapping

from lossbench.bench.training_loop.batches import BATCHES
from lossbench.bench.training_loop.graphs import GRAPHS
from lossbench.bench.training_loop.loops import LOOPS
from lossbench.bench.training_loop.modes import MODES
from lossbench.bench.training_loop.optimizers import OPTIMIZERS
from lossbench.bench.training_loop.precision import PRECISION
from lossbench.bench.training_loop.processes import DISTRIBUTED
from lossbench.bench.training_loop.recomputation import RECOMPUTATION
from lossbench.bench.training_loop.situation import Situation

LOOP_SITUATIONS: Mapping[str, Situation] = {
    situation.name: situation
    for situation in (
        *PRECISION,
        *LOOPS,
        *RECOMPUTATION,
        *MODES,
        *DISTRIBUTED,
        *OPTIMIZERS,
        *GRAPHS,
        *BATCHES,
    )
}
