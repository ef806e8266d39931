"""Make runs in folders for the tests of reading them."""

from lossbench.bench.run.appending import record_file
from lossbench.bench.timing.samples import Samples, Timing

ROUNDS = 40


def paired(factor):
    """Return times of a variant with a factor of the reference's 1 ms, to within 1%."""
    noisy = tuple(1e-3 * factor * (1 + 0.01 * (-1) ** i) for i in range(ROUNDS))
    return Timing((Samples(noisy, (1e-3,) * ROUNDS, 1),))


def save_run(folder, records=()):
    """Write records as a run, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with record_file(folder) as file:
        for each in records:
            file.append(each)
    return folder
