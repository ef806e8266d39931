"""What a GPU's data sheet promises, for limits of sizes that nobody has measured yet."""

from collections.abc import Mapping

from lossbench.bench.measure.ceilings import Ceilings

TERA = 1e12
# A kernel's launch, and no step has fewer than two.
LAUNCH_SECONDS = 5e-6
# Dense rates. Three TF32 products stand for one of float32, and are faster than float32 itself.
HOPPER_RATES = {
    "float32": 495 * TERA / 3,
    "float64": 67 * TERA,
    "bfloat16": 989 * TERA,
    "float16": 989 * TERA,
}


def _hopper(bytes_per_second: float) -> Ceilings:
    calls = {"forward": LAUNCH_SECONDS, "step": 2 * LAUNCH_SECONDS}
    return Ceilings(HOPPER_RATES, bytes_per_second, calls, cache_bytes=50 * 2**20)  # type: ignore[arg-type]


CHIPS: Mapping[str, Ceilings] = {"H100": _hopper(3.35e12), "H200": _hopper(4.8e12)}
"""The promised rates by the name of the chip. A limit from them is a prediction, never a record's:
a run measures the card's own."""
