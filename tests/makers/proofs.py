"""Make tables of what is right on which torch."""

from lossbench.bench.compat.proof import CompatProof
from lossbench.bench.compat.table import CompatColumn, CompatRow
from tests.makers.records import ENVIRONMENT

RIGHT, WRONG = CompatProof("right", trials=3), CompatProof("wrong", "out.loss is off", "12x8, C=5")


def column(torch, proofs, *, loss="arcface", device="cpu", architecture="x86_64"):
    """Return a column from proofs by variant."""
    rows = tuple(CompatRow(loss, name, False, proof) for name, proof in proofs.items())
    environment = type(ENVIRONMENT)(**{**vars(ENVIRONMENT), "torch": torch})
    return CompatColumn(environment, "2026-01-01T00:00:00+00:00", device, architecture, rows)
