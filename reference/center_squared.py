"""The centre losses of their paper, Wen et al. 2016, in which each sample's distance is squared.

Both losses are sums over the batch, and have their class centres as rows, ``centers [C, D]``.
"""

import torch
from torch import Tensor, nn

from lossbench.reference.options import EntropyOptions
from lossbench.reference.outputs import LossAndLogits, LossOnly


@torch.no_grad()
def move_centers_(centers: Tensor, embeddings: Tensor, labels: Tensor, rate: float) -> None:
    """Move ``centers [C, D]`` towards ``embeddings [B, D]``, in place (Wen et al. 2016, Eq. 4).

    ``c_j ← c_j - α Σ_{y_i = j} (c_j - x_i) / (1 + n_j)``, where n_j is the number of samples of the
    class in the batch. The centre of an absent class does not move.
    """
    gap = (centers[labels] - embeddings).to(centers.dtype)
    pull = torch.zeros_like(centers).index_add_(0, labels, gap)
    counts = labels.bincount(minlength=len(centers)).to(centers.dtype)
    centers -= rate * pull / (1 + counts).unsqueeze(1)


class MovingCenters(nn.Module):
    """Class centres that have a gradient or, with a rate above 0, move by the paper's update.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        center_rate: rate α of the update; at 0 the centres have a gradient instead.
    """

    def __init__(self, num_classes: int, embedding_dim: int, center_rate: float) -> None:
        super().__init__()
        self.center_rate = center_rate
        self.centers = nn.Parameter(
            torch.randn(num_classes, embedding_dim), requires_grad=center_rate == 0
        )

    def center_loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return ``½ Σ_i ‖x_i - c_{y_i}‖²``, 0-d; then the centres may move."""
        moves = self.center_rate > 0
        # Callers may unfreeze all parameters of a model at once, so the centres are detached too.
        centers = self.centers.detach() if moves else self.centers
        loss = (embeddings - centers.index_select(0, labels)).pow(2).sum() / 2
        if moves and self.training:
            move_centers_(self.centers, embeddings, labels, self.center_rate)
        return loss


class Center(MovingCenters):
    """Half the squared distances to the class centres (Wen et al. 2016, Eq. 2).

    ``loss = ½ Σ_i ‖x_i - c_{y_i}‖²``. With a ``center_rate`` above 0 the centres have no gradient.
    In training they then move after each call by ``move_centers_``; in evaluation they do not.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        center_rate: rate α of the update; at 0 the centres have a gradient instead.
    """

    def __init__(self, num_classes: int, embedding_dim: int, center_rate: float = 0) -> None:
        super().__init__(num_classes, embedding_dim, center_rate)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of ``embeddings [B, D]``, ``labels [B]``; then the centres may move."""
        return LossOnly(self.center_loss(embeddings, labels.long()))


class SoftmaxCenter(MovingCenters):
    """Softmax and centre loss together (Wen et al. 2016, Eq. 5).

    ``loss = -Σ_i log softmax(x_i W)[y_i] + λ/2 Σ_i ‖x_i - c_{y_i}‖²``, both of them sums. The
    centres move as in ``Center``; λ does not change their update.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        center_weight: weight λ of the centre term.
        center_rate: rate α of the update; at 0 the centres have a gradient instead.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        center_weight: float = 0.003,
        center_rate: float = 0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, center_rate)
        self.center_weight = center_weight
        self.options = EntropyOptions(reduction="sum")
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``; then the centres may move."""
        labels = labels.long()
        logits = self.logits(embeddings)
        softmax_loss = self.options.cross_entropy(logits, labels)
        center_loss = self.center_loss(embeddings, labels)
        return LossAndLogits(softmax_loss + self.center_weight * center_loss, logits)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``x_i w_j``, ``[B, C]``, of ``embeddings [B, D]``."""
        return embeddings.mm(self.weight)
