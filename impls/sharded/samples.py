"""The samples of all processes, in every process."""

from typing import NamedTuple

from torch import Tensor

from lossbench.impls.labels import check_range_of_trace
from lossbench.impls.sharded.collectives import gather, gather_rows
from lossbench.impls.sharded.meeting import JoinedBatch


class JoinedSamples(NamedTuple):
    """The rows and the labels of all processes.

    Attributes:
        rows: the rows ``[B, D]``, float32 or wider; their gradient returns to their processes.
        labels: the labels ``[B]``, int64.
        batch: the sizes of the batches.
    """

    rows: Tensor
    labels: Tensor
    batch: JoinedBatch

    @classmethod
    def of(cls, rows: Tensor, labels: Tensor, batch: JoinedBatch) -> "JoinedSamples":
        """Return those of all processes, from ``rows [B_r, D]`` and ``labels [B_r]`` of this."""
        return cls(gather_rows(rows, batch), gather(labels.long(), batch), batch)

    def refuse_strays(self, num_classes: int, ignore_index: int | None = None) -> None:
        """Raise an error in every process, on CUDA by the device, if a label is no class."""
        check_range_of_trace(self.labels, num_classes, ignore_index)

    def refuse_one_class(self) -> None:
        """Refuse samples of one class: their anchors have no negative.

        Raises:
            ValueError: in every process, if all samples have one label.
        """
        if bool((self.labels == self.labels[0]).all()):
            raise ValueError(
                f"the labels of all ranks must be of two classes or more, all "
                f"{len(self.labels)} are {int(self.labels[0])}"
            )
