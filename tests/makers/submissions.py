"""Make runs that can be true, and bundles of them, for the tests of submissions and the board."""

import json
import math
import warnings
import zipfile
from dataclasses import replace

from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import FACTOR, Agreement
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.memory import Memory
from lossbench.bench.run.plan import RunPlan, start_run
from lossbench.bench.submit.bundle import EPOCH, write_bundle
from lossbench.bench.submit.manifest import Checksum
from lossbench.bench.submit.possible import required_quantities
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.records import ENVIRONMENT, record
from tests.makers.runs import save_run

CASE = Case("arcface", batch=64, dim=8, classes=10)
OTHER = replace(CASE, batch=128)
CEILINGS = Ceilings({"float32": 1e11}, 1e10, {"forward": 1e-6, "step": 2e-6}, 2**25)
ROUNDS = 20
FACTORS = {"reference": 1.0, "vectorized": 0.8, "fused": 0.5}


def times(factor, noise=0.01):
    """Return times of three processes; the reference takes about a millisecond."""
    return Timing(tuple(_samples(factor, noise, process) for process in range(3)))


def _samples(factor, noise, process):
    reference = tuple(1e-3 * math.exp(0.01 * math.sin(process + i)) for i in range(ROUNDS))
    own = tuple(x * factor * math.exp(noise * math.sin(7 * i)) for i, x in enumerate(reference))
    return Samples(reference if factor == 1 else own, reference, 1)


def possible(variant, case=CASE, factor=None, **changes):
    """Return a Record that can be true, with some of its fields changed."""
    timing = times(FACTORS[variant] if factor is None else factor)
    figures = {"error": 1e-7, "reference_error": 1e-7, "budget": FACTOR * 1e-7}
    figures |= {"ulps": 1.0, "reference_ulps": 1.0, "draw": 0}
    seen = {
        "case": case,
        "variant": variant,
        "agreement": tuple(Agreement(name, **figures) for name in required_quantities(case)),
        "memory": Memory(9000, 9000, 3000, 10, kept_bytes=0),
        "counters": Counters(20, 0),
        "forward": timing,
        "step": timing,
        "ceilings": CEILINGS,
    }
    return record(**{**seen, **changes})


def possible_run(folder, records=None):
    """Make a run of Records, by default of three variants in two cases; return its folder."""
    records = records or [possible(v, case) for case in (CASE, OTHER) for v in FACTORS]
    cells = dict.fromkeys(each.cell for each in records)
    cases = dict.fromkeys(case for case, _ in cells)
    plan = RunPlan(
        tasks=tuple((case, tuple(v for c, v in cells if c == case)) for case in cases),
        budget_seconds=1.0,
        timeout_seconds=60.0,
        threads=ENVIRONMENT.threads,
        machine="here",
    )
    start_run(folder, plan)
    return save_run(folder, records)


def bundle_of(folder, records=None, by="Ada"):
    """Write the bundle of a run, and return its file."""
    file = folder / "run.bundle.zip"
    write_bundle(possible_run(folder / "run", records), file, by)
    return file


def members_of(file):
    """Return the bytes of a bundle's members by name."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(file, members):
    """Write members, given as pairs of a name and bytes, as an archive."""
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        # The library warns of a name that is there twice.
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
    return file


def with_checksums(members):
    """Return members as a forger writes them: the manifest has the checksums of the others."""
    manifest = json.loads(members["bundle.json"])
    for name in manifest["files"]:
        checksum = Checksum.of(members[name])
        manifest["files"][name] = {"size": checksum.size, "sha256": checksum.sha256}
    return {**members, "bundle.json": json.dumps(manifest).encode()}
