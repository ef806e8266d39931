"""The exact results of timed calls, and the errors of the reference in the same calls."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.feed import Content, Feed
from lossbench.bench.case.workload import Workload, mirrored
from lossbench.bench.measure.agreement import FACTOR, quantities, rounding_band
from lossbench.bench.measure.deviation import relative_error


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
        given = self.feed.workload_of(content)
        exact = self._step(given.exact())
        for name, error in self._errors(given, exact).items():
            if math.isfinite(error):
                self._worst[name] = max(self._worst.get(name, 0.0), error)
        return exact

    def budget(self, quantity: str) -> float:
        """Return the largest error of a quantity that passes; infinite if no reference tells."""
        dtype = self.feed.workload.case.torch_dtype
        return FACTOR * self._worst.get(quantity, math.inf) + rounding_band(dtype)

    def _errors(self, given: Workload, exact: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the reference's errors, the larger of two orders of its sums."""
        case = given.case
        if case.dtype == "float64":
            return self._scaled(given)
        turned = {
            name: mirrored(name.split(".")[1], tensor)
            for name, tensor in self._step(given.mirrored()).items()
        }
        runs = (self._step(given), turned)
        found = {n: max(relative_error(run[n], exact[n]) for run in runs) for n in exact}
        if case.dtype == "float32" or all(map(math.isfinite, found.values())):
            return found
        scaled = self._scaled(given)
        return {n: e if math.isfinite(e) else scaled[n] for n, e in found.items()}

    def _scaled(self, given: Workload) -> dict[str, float]:
        """Return the reference's errors in float32, scaled to the dtype by the epsilons."""
        case = replace(given.case, dtype="float32", autocast=False)
        rounded = given.rounded(case)
        exact, own = self._step(rounded.exact()), self._step(rounded)
        scale = torch.finfo(given.case.torch_dtype).eps / torch.finfo(torch.float32).eps
        return {name: scale * relative_error(own[name], exact[name]) for name in exact}

    def _step(self, workload: Workload) -> dict[str, Tensor]:
        # A module draws its initial parameters, but a contender must not draw while it is timed.
        with torch.random.fork_rng(devices=()):
            module = workload.module(self._reference)
        return quantities(workload.step(module))
