"""How each loss is trained: alone or beside softmax, at which rates; and the named experiments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lossbench import impls

TRAINED_LOSSES = tuple(loss.name for loss in impls.losses() if loss.kind == "loss")

# 002's. Where a document prints no rate, it is that of 0.0001, 0.0003, 0.001, 0.003 and this with
# which the nearest class mean told the most of a quarter of the digits' training images, held out
# by scikit-learn's stratified split of seed 0: the mean of trainings of seeds 0 to 2, or to 9 where
# those part widely. 0.03 told more for most losses, but is near to 0.1, at which nine of 42
# trainings did not stay finite.
RATE = 0.01
# Wen et al.'s rate of the centres. A gradient is scaled by λ and the centres' move must not be, so
# that the optimizer's rate is this over λ.
CENTER_RATE = 0.5
# λ, which is printed nowhere.
WEIGHT = 0.1


@dataclass(frozen=True)
class Recipe:
    """How a loss is trained.

    Attributes:
        weight: λ, by which the loss is multiplied.
        joined: whether softmax is added: alone the loss draws all features to one point.
        summed: whether the loss is a sum over the batch, and so is divided by its size.
        angular: whether the classes are told apart by angle alone, as under class weights of length
            1.
        rate: the learning rate.
        center_rate: the learning rate of the loss's centres; ``None`` for that of the rest.
        arguments: of the loss, where they are not the document's.
        source: what the documents print of this, and what is chosen here.
    """

    weight: float = 1.0
    joined: bool = False
    summed: bool = False
    angular: bool = False
    rate: float = RATE
    center_rate: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def objective(self, loss: str) -> str:
        """Return what is minimised, in a line: ``softmax + 0.1/B · center``."""
        factor = "" if self.weight == 1 else f"{self.weight:g}"
        if self.summed:
            factor = f"{self.weight:g}/B"
        term = f"{factor} · {loss}" if factor else loss
        return f"softmax + {term}" if self.joined else term


ANGULAR = Recipe(angular=True)
JOINED = Recipe(weight=WEIGHT, joined=True, center_rate=CENTER_RATE / WEIGHT)
CHOSEN = "{} prints no rate; this one was chosen on held-out training images"

RECIPES: Mapping[str, Recipe] = {
    "modified_softmax": ANGULAR,
    "normface": replace(ANGULAR, rate=0.0003, source=CHOSEN.format("001")),
    "sphereface": ANGULAR,
    "arcface": replace(ANGULAR, rate=0.0003, source=CHOSEN.format("001")),
    "arcface_guarded": replace(ANGULAR, rate=0.0003, source=CHOSEN.format("001")),
    "triplet_batch_hard": Recipe(rate=0.003, source=CHOSEN.format("003")),
    "softmax_center": Recipe(
        summed=True,
        center_rate=CENTER_RATE / 0.003,
        source="both terms are sums; λ is the loss's own argument",
    ),
    "center_all_pairs": Recipe(
        joined=True,
        rate=0.001,
        center_rate=0.001,
        source="002, answer 1: softmax + loss, all at the rate 0.001, centres averaged besides",
    ),
    "center": replace(
        JOINED,
        summed=True,
        source="softmax + λ · loss as in 002; λ is set here, the centres' rate is the paper's",
    ),
    "center_mse": replace(
        JOINED,
        source="002, answer 3: softmax + λ · loss; λ is not printed, and the optimizer there has "
        "the network alone, so that the centres would stay (--center-lr 0); of two features it is "
        "the same as center",
    ),
    "island": replace(JOINED, source="000: softmax + λ · loss; λ and the rates are not printed"),
    "contrastive_whole_batch": Recipe(
        joined=True, source="one distance a batch; half of the pairs are of one class"
    ),
    "contrastive": Recipe(joined=True, source="half of the pairs are of one class"),
}
ALONE = Recipe()


def recipe_of(loss: str) -> Recipe:
    """Return how a loss is trained; one that is not listed alone, at the common rate."""
    return RECIPES.get(loss, ALONE)


@dataclass(frozen=True)
class TrainPreset:
    """A named experiment.

    Attributes:
        summary: what it is, in a line.
        network: its name.
        epochs: how often each image is seen.
        batch: B.
        losses: what is trained.
        compared_steps: how many steps of a variant are held against the reference's.
    """

    summary: str
    network: str
    epochs: int
    batch: int
    losses: tuple[str, ...] = TRAINED_LOSSES
    compared_steps: int = 300


PRESETS: Mapping[str, TrainPreset] = {
    "digits": TrainPreset("every loss on scikit-learn's digits", "lenet", 20, 64),
    "mnist": TrainPreset("every loss on MNIST, from --mnist DIR", "lenet", 5, 128),
    "center-resnet": TrainPreset(
        "002's recipe: a small ResNet under softmax + λ · centre loss, beside softmax alone",
        "resnet",
        10,
        64,
        ("softmax", "center_all_pairs", "center", "center_mse"),
        compared_steps=100,
    ),
}
