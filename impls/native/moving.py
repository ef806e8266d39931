"""Centres that one native operator moves."""

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from lossbench.impls.moving import Shift, ShiftingCenters


class NativeShift(ShiftingCenters):
    """Class centres that an operator moves in place; torch moves those of several processes."""

    def _shift_alone(self, centers: Tensor, samples: Tensor, labels: Tensor, shift: Shift) -> None:
        torch.ops.lossbench_native.move_centers.default(
            centers,
            samples,
            labels,
            shift.momentum,
            shift.share,
            shift.added,
            shift.differences,
        )
        # So that a backward pass that reads the centres refuses the moved ones.
        increment_version(centers)
