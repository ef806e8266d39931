"""Grids of sizes, and the presets: named sets of grids for ``--preset quick``, ``full``, ..."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossbench import impls
from lossbench.bench.case.cases import AUTOCAST_DTYPES, DIGITS_DIM, Case
from lossbench.bench.errors import UsageError
from lossbench.bench.timing.samples import FEWEST_PROCESSES


@dataclass(frozen=True)
class Sizes:
    """A grid of sizes: every combination of its values is a Case.

    Attributes:
        losses: names of the losses; empty for every Loss.
        batch: values of B.
        dim: values of D.
        classes: values of C.
        dtype: names of dtypes.
        data: kinds of data.
        compiled: whether to measure ``+compile`` variants too, which takes some seconds each.
        autocast: whether the forward runs under autocast to the dtypes.
    """

    losses: tuple[str, ...] = ()
    batch: tuple[int, ...] = (64,)
    dim: tuple[int, ...] = (128,)
    classes: tuple[int, ...] = (10,)
    dtype: tuple[str, ...] = ("float32",)
    data: tuple[str, ...] = ("gaussian",)
    compiled: bool = False
    autocast: bool = False

    def cases(self, device: str) -> Iterator[Case]:
        """Yield the Cases on one device, Loss by Loss."""
        names = self.losses or tuple(loss.name for loss in impls.losses())
        axes = (self.dtype, self.data, self.dim, self.classes, self.batch)
        for name, combination in itertools.product(names, itertools.product(*axes)):
            dtype, data, dim, classes, batch = combination
            case = Case(name, batch, dim, classes, dtype, device, data, autocast=self.autocast)
            yield case.checked()


@dataclass(frozen=True)
class Preset:
    """A named set of grids, with settings for the measurement of times.

    Attributes:
        summary: purpose of the preset, in one line.
        grids: grids of sizes.
        budget_seconds: time to sample one phase of one Case, over all processes.
        processes: number of processes that sample each Case, one after the other; with 1, the
            process that compared the variants samples too.
    """

    summary: str
    grids: tuple[Sizes, ...]
    budget_seconds: float
    processes: int = FEWEST_PROCESSES


LOGIT_LOSSES = tuple(
    loss.name for loss in impls.losses() if "logits" in getattr(loss.output, "_fields", ())
)

FAMILIES = ("softmax", "arcface", "center", "triplet_weighted", "contrastive")

LABELLED = tuple(loss.name for loss in impls.losses() if loss.inputs == "labelled")

UNLABELLED = tuple(loss.name for loss in impls.losses() if loss.inputs != "labelled")

HEADS = ("normface", "sphereface", "arcface", "arcface_guarded")

MINING = ("triplet_batch_hard", "triplet_weighted", "triplet_weighted_unshifted")

# Losses whose largest tensors are the inputs and the parameters.
LINEAR = ("center", "center_mse", "contrastive", "vector_distance")

PRESETS = {
    "quick": Preset(
        "every loss on real digits, in under two minutes",
        # A second size would take it beyond two minutes, now that three processes sample each case.
        (Sizes(batch=(128,), dim=(DIGITS_DIM,), data=("digits",)),),
        budget_seconds=0.4,
    ),
    "ci": Preset(
        "every loss at one small size, to check that everything runs",
        (Sizes(batch=(32,), dim=(16,)),),
        budget_seconds=0.1,
    ),
    "ordinary": Preset(
        "every loss at the sizes of ordinary training, in about an hour on two cores",
        (
            Sizes(LABELLED, (64, 128, 256, 512), (64, 128, 512), (10, 100, 1000)),
            # Without labels the number of classes changes nothing.
            Sizes(UNLABELLED, (64, 128, 256, 512), (64, 128, 512)),
        ),
        budget_seconds=0.6,
    ),
    "large": Preset(
        "the sizes at which the variants differ most, with compiled variants",
        (
            Sizes(("triplet_batch_hard",), (1024,), (512,), (256,), compiled=True),
            Sizes(("triplet_weighted_unshifted",), (1024,), (128,), (256,), compiled=True),
            Sizes(("triplet_weighted_unshifted",), (4096,), (128,), (1024,)),
            Sizes(("arcface", "arcface_guarded"), (256,), (512,), (10_000,), compiled=True),
            Sizes(HEADS, (256,), (128,), (100_000,), compiled=True),
            Sizes(("island",), (128,), (512,), (10_000,), compiled=True),
            Sizes(("center_all_pairs",), (256,), (512,), (1000,), compiled=True),
            Sizes(("center_mse", "center"), (256,), (512,), (100_000,)),
        ),
        budget_seconds=10.0,
    ),
    "cuda": Preset(
        "sizes for a GPU with 80 GB: batches to 65536, and to a million classes",
        (
            # Those with a goal come first, since the time on a lent GPU may end.
            Sizes(("triplet_batch_hard",), (8192,), (512,), (1000,)),
            Sizes(("arcface",), (1024,), (512,), (100_000,), ("bfloat16",)),
            Sizes(("triplet_weighted",), (8192,), (128,), (1000,)),
            Sizes(("softmax", "arcface"), (256, 4096), (128, 512), (10_000,)),
            Sizes(MINING, (256, 2048, 16_384), (128,), (1000,)),
            Sizes(("center",), (256, 65_536), (128, 512), (10_000,)),
            Sizes(("softmax", "arcface"), (16_384,), (128,), (10_000,)),
            Sizes(("softmax", "arcface"), (1024,), (512,), (100_000,), ("float32", "bfloat16")),
            Sizes(("arcface",), (256,), (128,), (1_000_000,), ("float32", "bfloat16")),
            Sizes(LINEAR, (65_536,), (128, 512), (100_000,)),
            Sizes(FAMILIES, (256,), classes=(1000,), compiled=True),
            Sizes(batch=(256,), classes=(10_000,)),
            # On most hosts only an oracle in tiles has room for these, and it takes long.
            Sizes(("triplet_batch_hard",), (65_536,), (128,), (1000,), ("float32", "bfloat16")),
            Sizes(("arcface",), (4096,), (512,), (1_000_000,), ("bfloat16",)),
        ),
        budget_seconds=3.0,
    ),
    "full": Preset(
        "every loss over batch and dim, one loss of each family over dtype and data",
        (
            Sizes(batch=(256,), classes=(1000,), compiled=True),
            Sizes(batch=(64, 1024), classes=(1000,)),
            Sizes(batch=(256,), dim=(512,)),
            Sizes(LOGIT_LOSSES, batch=(256,), classes=(10_000,)),
            Sizes(("softmax", "arcface"), batch=(256,), classes=(100_000,)),
            Sizes(FAMILIES, dim=(DIGITS_DIM,), data=("digits",)),
            Sizes(FAMILIES, batch=(256,), data=("clustered",)),
            Sizes(FAMILIES, dtype=("float64", "bfloat16", "float16")),
            Sizes(FAMILIES, dtype=AUTOCAST_DTYPES, autocast=True),
        ),
        budget_seconds=2.0,
    ),
}


def preset_grids(
    preset: str, losses: Sequence[str], sizes: Mapping[str, Sequence[int]]
) -> list[Sizes]:
    """Return the grids of a preset, narrowed to some losses and sizes.

    Args:
        preset: name of the preset.
        losses: names of the losses to keep; empty for all.
        sizes: values to keep, by the name of their axis.

    Raises:
        UsageError: if the preset has none of the losses, or lacks one of the sizes for them.
    """
    grids = PRESETS[preset].grids
    if losses:
        kept = (tuple(n for n in losses if n in (grid.losses or losses)) for grid in grids)
        grids = _with_axis(grids, "losses", kept)
    if not grids:
        named = dict.fromkeys(name for grid in PRESETS[preset].grids for name in grid.losses)
        raise UsageError(
            f"preset {preset} has no size for {', '.join(losses)}; it has sizes for: "
            f"{', '.join(named)}"
        )
    for axis, values in sizes.items():
        there = sorted({value for grid in grids for value in getattr(grid, axis)})
        if missing := sorted(set(values).difference(there)):
            raise UsageError(
                f"preset {preset} has no size with {axis} {', '.join(map(str, missing))}; here it "
                f"has: {', '.join(map(str, there))}. Without a preset any size is measured"
            )
        kept = (tuple(v for v in getattr(grid, axis) if v in values) for grid in grids)
        grids = _with_axis(grids, axis, kept)
    return list(grids)


def _with_axis(
    grids: Iterable[Sizes], axis: str, values: Iterable[tuple[Any, ...]]
) -> tuple[Sizes, ...]:
    """Return grids with other values on one axis, without those left with none."""
    changed: list[dict[str, Any]] = [{axis: each} for each in values]
    pairs = zip(grids, changed, strict=True)
    return tuple(replace(grid, **change) for grid, change in pairs if change[axis])
