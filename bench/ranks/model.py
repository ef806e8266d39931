"""Predict the time of collectives by an alpha-beta model, and with it a step of many ranks.

A message of ``n`` bytes from one rank to the next takes ``α + n / β``: a latency, and a time for
the bytes. Collectives are rings, as gloo's, and as NCCL's of large messages. With N ranks that give
``n`` bytes each,

==============  ==========  ===================
collective      messages    bytes sent by a rank
==============  ==========  ===================
all-gather      N - 1       (N - 1) n
reduce-scatter  N - 1       (N - 1) n / N
all-reduce      2 (N - 1)   2 (N - 1) n / N
==============  ==========  ===================

follow one after the other. In a tree, ``⌈log₂ N⌉`` messages take the place of ``N - 1``, for the
same bytes; NCCL does so with small messages. A step takes what it computes, and its collectives
after that: nothing overlaps, and all ranks arrive at once.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lossbench.bench.ranks.traffic import Collective, Traffic

Shape = Literal["ring", "tree"]
# The rounds of N - 1 messages of each kind of collective.
ROUNDS: Mapping[str, int] = {"all-gather": 1, "reduce-scatter": 1, "all-reduce": 2}


class Sent(NamedTuple):
    """What a rank sends in a collective.

    Attributes:
        messages: number of messages, one after the other.
        total_bytes: bytes of all of them.
    """

    messages: int
    total_bytes: float


@dataclass(frozen=True)
class Link:
    """The connection between two ranks, as a collective uses it.

    Attributes:
        latency_seconds: time of an empty message, α.
        bytes_per_second: bandwidth, β.
    """

    latency_seconds: float
    bytes_per_second: float

    def seconds(self, sent: Sent) -> float:
        """Return the time of messages that follow each other."""
        return sent.messages * self.latency_seconds + sent.total_bytes / self.bytes_per_second


Links = Mapping[str, Link]
"""The link of each kind of collective: its code differs, and so do its latency and bandwidth."""


def given_links(latency_seconds: float, bytes_per_second: float) -> Links:
    """Return one link for all kinds of collectives."""
    return dict.fromkeys(ROUNDS, Link(latency_seconds, bytes_per_second))


def sent_by(collective: Collective, ranks: int, shape: Shape = "ring") -> Sent:
    """Return what each of a number of ranks sends in a collective."""
    hops = ranks - 1 if shape == "ring" else math.ceil(math.log2(ranks))
    share = ranks - 1 if collective.kind == "all-gather" else (ranks - 1) / ranks
    rounds = ROUNDS[collective.kind]
    return Sent(rounds * hops, rounds * share * collective.given_bytes)


def communication_seconds(
    traffic: Traffic, ranks: int, links: Links, shape: Shape = "ring"
) -> float:
    """Return the predicted time of the collectives of a step."""
    return sum(
        links[each.kind].seconds(sent_by(each, ranks, shape)) for each in traffic.collectives
    )


class TimedCollective(NamedTuple):
    """A measured collective.

    Attributes:
        collective: kind and size.
        seconds: time of the slowest rank.
    """

    collective: Collective
    seconds: float


def fit_links(timed: Iterable[TimedCollective], ranks: int) -> dict[str, Link]:
    """Return the links that fit measured times of a number of ranks, by the relative error.

    Neither the latency nor the time of a byte is below 0.
    """
    kinds: dict[str, list[TimedCollective]] = {}
    for each in timed:
        kinds.setdefault(each.collective.kind, []).append(each)
    return {kind: _fit(found, ranks) for kind, found in kinds.items()}


def _fit(timed: Sequence[TimedCollective], ranks: int) -> Link:
    import numpy as np
    from scipy.optimize import nnls

    sent = np.array([sent_by(each.collective, ranks) for each in timed], float)
    seconds = np.array([each.seconds for each in timed])
    (latency, byte), _ = nnls(sent / seconds[:, None], np.ones(len(timed)))
    return Link(float(latency), 1 / max(float(byte), 1e-15))


@dataclass(frozen=True)
class RankPrediction:
    """The predicted step of a variant on a number of ranks.

    Attributes:
        variant: name of the variant.
        ranks: number of ranks.
        computed_seconds: measured time of what one rank computes, without the others.
        communicated_seconds: predicted time of the collectives.
        traffic: collectives of the step.
        parameter_bytes: counted bytes of the parameters on a rank.
        peak_bytes: counted bytes of a step on a rank, beside inputs and parameters.
    """

    variant: str
    ranks: int
    computed_seconds: float
    communicated_seconds: float
    traffic: Traffic
    parameter_bytes: int
    peak_bytes: int

    @property
    def step_seconds(self) -> float:
        """The predicted time of a step."""
        return self.computed_seconds + self.communicated_seconds

    @property
    def share(self) -> float:
        """The share of the step that is communication."""
        return self.communicated_seconds / self.step_seconds

    @property
    def rank_bytes(self) -> int:
        """The memory that the loss takes on a rank: parameters and a step."""
        return self.parameter_bytes + self.peak_bytes
