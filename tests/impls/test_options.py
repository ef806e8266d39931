"""``F.cross_entropy``'s options: in the references as it has them, in every variant as there."""

import pytest
import torch
import torch.nn.functional as F

from lossbench import impls
from tests.conftest import name_of
from tests.makers.options import (
    BATCH,
    CLASSES,
    CONTENDERS,
    ENTROPIES,
    EVERY_OPTION,
    MANY,
    TAKING,
    WEIGHTS,
    batch,
    head,
    other,
    outcome,
)


@pytest.mark.parametrize("loss", ENTROPIES, ids=lambda loss: loss.name)
@EVERY_OPTION
def test_a_reference_is_torchs_cross_entropy_over_its_logits(loss, options):
    module = head(impls.implementation(loss.name, "reference"), **options)
    x, labels = batch(options["ignore_index"])
    out = module(x, labels)
    logits = out.logits * (16 if loss.name == "normface" else 1)
    asked = {"ignore_index": -100, **{k: v for k, v in options.items() if v is not None}}
    if options["class_weights"]:
        asked["weight"] = torch.tensor(asked.pop("class_weights"), dtype=torch.float64)
    expected = F.cross_entropy(logits, labels, **asked)
    torch.testing.assert_close(out.loss, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("implementation", CONTENDERS, ids=name_of)
@EVERY_OPTION
def test_every_variant_is_its_reference(implementation, options):
    x, labels = batch(options["ignore_index"])
    expected = outcome(head(other(implementation), **options), x, labels)
    given = outcome(head(implementation, **options), x, labels)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "implementation", [i for i in CONTENDERS if "logits" in i.outputs], ids=name_of
)
@pytest.mark.parametrize("options", [{"ignore_index": -100}, {}], ids=str)
def test_logits_are_the_references_and_those_left_out_have_no_margin(implementation, options):
    x, labels = batch(options.get("ignore_index"))
    given = head(implementation, **options)(x, labels).logits
    module = head(other(implementation), **options)
    torch.testing.assert_close(given, module(x, labels).logits, rtol=1e-9, atol=1e-9)
    if options and implementation.loss.name != "normface":
        torch.testing.assert_close(given[2], module.logits(x)[2], rtol=1e-9, atol=1e-9)


MANY_OPTIONS = [
    {"ignore_index": -100},
    {"ignore_index": -100, "reduction": "sum"},
    {"ignore_index": 7, "reduction": "none"},
    {"class_weights": "every third is 0"},
    {"class_weights": "every third is 0", "ignore_index": -100, "reduction": "none"},
    {"class_weights": "every third is 0", "reduction": "sum"},
    {"label_smoothing": 0.1, "ignore_index": -100, "class_weights": "every third is 0"},
]


@pytest.mark.parametrize(
    "implementation", [i for i in CONTENDERS if i.variant == "fused"], ids=name_of
)
@pytest.mark.parametrize("options", MANY_OPTIONS, ids=str)
def test_so_it_is_by_tiles_of_classes(implementation, options):
    options = dict(options)
    if "class_weights" in options:
        options["class_weights"] = (torch.arange(MANY) % 3).float()
    x, labels = batch(options.get("ignore_index"), classes=MANY)
    expected = outcome(head(other(implementation), MANY, **options), x, labels)
    given = outcome(head(implementation, MANY, **options), x, labels)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("implementation", TAKING, ids=name_of)
@pytest.mark.parametrize("classes", [CLASSES, MANY])
@pytest.mark.parametrize(
    ("reduction", "expected"), [("mean", torch.nan), ("sum", 0), ("none", [0] * BATCH)]
)
def test_a_batch_all_left_out_is_as_torchs(implementation, classes, reduction, expected):
    module = head(implementation, classes, ignore_index=-100, reduction=reduction)
    x, labels = batch()
    loss, *gradients = outcome(module, x, labels.fill_(-100))
    wanted = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(loss, wanted, equal_nan=True)
    for gradient in gradients:
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("implementation", [i for i in TAKING if i.loss.name == "sphereface"])
@EVERY_OPTION
def test_the_focal_factor_is_of_the_targets_probability(implementation, options):
    module = head(implementation, gamma=1.5, **options)
    x, labels = batch(options["ignore_index"])
    logits = head(other(implementation), **{**options, "reduction": "none"})(x, labels).logits
    plain = head(other(implementation), **{**options, "reduction": "none"})(x, labels).loss
    kept = labels != options["ignore_index"] if options["ignore_index"] else labels >= 0
    targets = labels.where(kept, 0)
    miss = 1 - logits.softmax(1).gather(1, targets[:, None])[:, 0]
    losses = plain * miss**1.5
    weights = torch.tensor(options["class_weights"] or [1.0] * CLASSES, dtype=torch.float64)
    total = {"mean": lambda: losses.sum() / (weights[targets] * kept).sum(), "sum": losses.sum}
    expected = total.get(options["reduction"], lambda: losses)()
    torch.testing.assert_close(module(x, labels).loss, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("implementation", CONTENDERS, ids=name_of)
def test_float32_is_as_near_as_the_reference(implementation):
    options = {"ignore_index": -100, "label_smoothing": 0.1, "class_weights": WEIGHTS}
    x, labels = batch(-100)
    exact = head(other(implementation), **options)(x, labels).loss
    given = head(implementation, **options).float()(x.detach().float(), labels).loss
    assert given.dtype == torch.float32
    torch.testing.assert_close(given.double(), exact, rtol=1e-5, atol=1e-6)
