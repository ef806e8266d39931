"""The centre losses of each sample and its own centre, and the island loss, by native operators."""

from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.moving import MOVES_EAGERLY, RatedCenters
from lossbench.impls.native.build import problem
from lossbench.impls.native.centers import CenterTerms, native_centers
from lossbench.impls.native.moving import NativeShift
from lossbench.impls.native.operators import NATIVE, Native
from lossbench.impls.registry import register
from lossbench.impls.state import ClassCenters, IslandCenters


@register("center_mse", "native", refuses_labels=True, **NATIVE)
class CenterMse(Native, ClassCenters):
    """The mean of the squared differences."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        terms = CenterTerms(1 / embeddings.numel())
        return LossOnly(native_centers(embeddings, self.centers, labels, terms))


@register(
    "center",
    "native",
    devices=("cpu",),
    limits={**MOVES_EAGERLY, **DIFFERENTIABLE_ONCE},
    problem=problem,
    refuses_labels=True,
)
class Center(Native, NativeShift, RatedCenters):
    """Half the sum of the squared differences; an operator moves centres with a rate."""

    terms = CenterTerms(0.5)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres if they have a rate."""
        centers, moves = self._centers_in_loss, self._moves
        loss = native_centers(embeddings, centers, labels, self.terms, moves=moves)
        if moves:
            self._move_centers_towards(embeddings, labels)
        return LossOnly(loss)


@register("island", "native", refuses_labels=True, **NATIVE)
class Island(Native, IslandCenters):
    """One read of the centres in the forward pass; one read and one write for their gradient."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        terms = CenterTerms(0.5 / self.batch_size, pair_weight=float(self.island_weight))
        return LossOnly(native_centers(embeddings, self.centers, labels, terms))
