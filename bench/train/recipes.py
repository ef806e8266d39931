"""How each loss is trained: alone or joined with softmax, at its rates; and named experiments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lossbench import impls

TRAINED_LOSSES = tuple(loss.name for loss in impls.losses() if loss.kind == "loss")

# The rate of document 002. Where a document prints no rate, the best of 0.0001, 0.0003, 0.001,
# 0.003 and this one was chosen, by the accuracy of the nearest class mean on a quarter of the
# digits' training images, held out by scikit-learn's stratified split of seed 0. The accuracy was
# averaged over trainings of seeds 0 to 2, or 0 to 9 where those differ widely. 0.03 was more
# accurate for most losses, but is close to 0.1, at which nine of 42 trainings did not stay finite.
RATE = 0.01
# The rate of the centres in Wen et al. λ scales the gradient, but must not scale the move of the
# centres, so the optimizer's rate is this divided by λ.
CENTER_RATE = 0.5
# λ; no document prints it.
WEIGHT = 0.1


@dataclass(frozen=True)
class Recipe:
    """How a loss is trained.

    Attributes:
        weight: factor λ of the loss in the objective.
        joined: whether softmax is added; the loss alone would draw all features to one point.
        summed: whether the loss is a sum over the batch; it is then divided by the batch size.
        angular: whether the classes are separated by angle alone, as by class weights of length 1.
        rate: learning rate.
        center_rate: learning rate of the loss's centres; ``None`` for the common rate.
        arguments: arguments of the loss that differ from the document's.
        source: note on the parts of the recipe that the documents print, and those chosen here.
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
        """Return the objective as text: ``softmax + 0.1/B · center``."""
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
        source="002, answer 1: softmax + loss, all at the rate 0.001; centres are also averaged",
    ),
    "center": replace(
        JOINED,
        summed=True,
        source="softmax + λ · loss as in 002; λ is set here, the centres' rate is the paper's",
    ),
    "center_mse": replace(
        JOINED,
        source="002, answer 3: softmax + λ · loss; λ is not printed; the optimizer there gets only "
        "the network, so the centres would not move (--center-lr 0); with two features the loss "
        "equals center",
    ),
    "island": replace(JOINED, source="000: softmax + λ · loss; λ and the rates are not printed"),
    "contrastive_whole_batch": Recipe(
        joined=True, source="one distance per batch; half of the pairs are of one class"
    ),
    "contrastive": Recipe(joined=True, source="half of the pairs are of one class"),
}
ALONE = Recipe()


def recipe_of(loss: str) -> Recipe:
    """Return the recipe of a loss; without an entry it is trained alone, at the common rate."""
    return RECIPES.get(loss, ALONE)


@dataclass(frozen=True)
class TrainPreset:
    """A named experiment.

    Attributes:
        summary: description of the experiment, in one line.
        network: name of the network.
        epochs: number of passes over the training images.
        batch: batch size B.
        losses: names of the losses to train.
        compared_steps: number of first steps over which variants are compared with the reference.
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
        "002's recipe: a small ResNet trained with softmax + λ · centre loss, and with softmax",
        "resnet",
        10,
        64,
        ("softmax", "center_all_pairs", "center", "center_mse"),
        compared_steps=100,
    ),
}
