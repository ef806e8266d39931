"""The exact results of timed calls, and the errors of the reference in the same calls."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.feed import Content, Feed
from lossbench.bench.measure.agreement import FACTOR, expect, rounding_band


class Answers:
    """The oracle of the calls of one Case, shared by all of its modules.

    The budget of a quantity is that of ``agreement``, with the largest error that the reference
    itself has in any of these calls.

    Attributes:
        feed: feed of the calls.
    """

    def __init__(self, feed: Feed, reference: impls.Implementation) -> None:
        """Answer by a reference, which is built for every answer and released."""
        self.feed, self._reference = feed, reference
        self._worst: dict[str, float] = {}
        self._last: tuple[Content, Mapping[str, Tensor]] | None = None

    def exact(self, content: Content) -> Mapping[str, Tensor]:
        """Return the quantities of a call in float64, and count the reference's errors in it."""
        if self._last is None or self._last[0] is not content:
            self._last = content, self._answer(content)
        return self._last[1]

    def _answer(self, content: Content) -> Mapping[str, Tensor]:
        # A module draws its initial parameters, but a contender must not draw while it is timed.
        with torch.random.fork_rng(devices=()):
            (expected,) = expect(self.feed.workload_of(content), self._reference.builder)
        for name, error in expected.own.items():
            if math.isfinite(error.relative):
                self._worst[name] = max(self._worst.get(name, 0.0), error.relative)
        return expected.exact

    def budget(self, quantity: str) -> float:
        """Return the largest error of a quantity that passes; infinite if no reference tells."""
        dtype = self.feed.workload.case.torch_dtype
        return FACTOR * self._worst.get(quantity, math.inf) + rounding_band(dtype)
