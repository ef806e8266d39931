import pytest
import torch

import impls
from bench.cases import PRESETS, Case, Sizes
from bench.data import make_inputs
from bench.errors import UsageError


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"classes": -1}, "classes must be 1 or more, got -1"),
        ({"data": "digits"}, "digits has dim 64"),
        ({"data": "digits", "dim": 64, "classes": 11}, "up to 10 classes"),
        ({"data": "digits", "dim": 64, "batch": 1741}, "batches of up to 1740"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(UsageError, match=message):
        Case("softmax", **{"batch": 8, "dim": 8, "classes": 10, **sizes})


def test_a_loss_that_needs_negatives_needs_two_classes():
    with pytest.raises(UsageError, match="triplet_batch_hard needs negatives"):
        Case("triplet_batch_hard", batch=8, dim=8, classes=1)


@pytest.mark.parametrize("preset", ["quick", "ci", "full"])
def test_the_general_presets_cover_every_loss(preset):
    cases = [case for grid in PRESETS[preset].grids for case in grid.cases("cpu")]
    assert {case.loss for case in cases} == {loss.name for loss in impls.losses()}


def test_quick_measures_real_digits():
    assert all(grid.data == ("digits",) for grid in PRESETS["quick"].grids)


def test_a_grid_is_every_combination():
    grid = Sizes(("island",), batch=(1, 2), dim=(3,), classes=(4, 5))
    assert [(c.batch, c.classes) for c in grid.cases("cpu")] == [(1, 4), (2, 4), (1, 5), (2, 5)]


@pytest.mark.parametrize("data", ["gaussian", "clustered", "digits"])
@pytest.mark.parametrize("loss", ["softmax", "contrastive", "pairwise_distance"])
def test_inputs_are_the_same_at_every_call_and_differ_by_draw(loss, data):
    case = Case(loss, batch=20, dim=64, classes=10, data=data)
    once, again, other = make_inputs(case), make_inputs(case), make_inputs(case, 1)
    assert tuple(once) == impls.loss(loss).input_names
    for name, tensor in once.items():
        assert torch.equal(tensor, again[name])
    assert not torch.equal(next(iter(once.values())), next(iter(other.values())))


@pytest.mark.parametrize("data", ["gaussian", "clustered"])
def test_labels_are_of_about_four_samples_a_class(data):
    labels = make_inputs(Case("softmax", batch=40, dim=4, classes=1000, data=data))["labels"]
    assert (labels.bincount()[labels] == 4).all()


def test_two_samples_are_of_two_classes():
    labels = make_inputs(Case("triplet_batch_hard", batch=2, dim=4, classes=50))["labels"]
    assert len(labels.unique()) == 2


def test_clusters_are_tight():
    inputs = make_inputs(Case("softmax", batch=40, dim=64, classes=10, data="clustered"))
    x, labels = inputs["embeddings"], inputs["labels"]
    distances = torch.cdist(x, x)
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    assert distances[same].max() < distances[~same].min() / 2


def test_digits_are_real_and_none_comes_twice():
    from sklearn.datasets import load_digits

    inputs = make_inputs(Case("softmax", batch=200, dim=64, classes=10, data="digits"))
    digits = load_digits()
    pixels = inputs["embeddings"] * float(digits.data.std()) + float(digits.data.mean())
    assert len(pixels.unique(dim=0)) == 200
    assert (inputs["labels"].bincount() == 20).all()
    known = {
        (tuple(image), int(target))
        for image, target in zip(digits.data.tolist(), digits.target, strict=True)
    }
    rows = zip(pixels.round().abs().tolist(), inputs["labels"].tolist(), strict=True)
    assert all((tuple(image), label) in known for image, label in rows)


def test_half_of_the_pairs_and_more_are_of_one_class():
    same = make_inputs(Case("contrastive", batch=64, dim=4, classes=1000))["same"]
    assert set(same.tolist()) == {0.0, 1.0}
    assert same.mean() >= 0.5


def test_pairs_of_an_odd_draw_are_within_the_margin():
    inputs = make_inputs(Case("contrastive_whole_batch", batch=64, dim=128, classes=10), draw=1)
    assert (inputs["x0"] - inputs["x1"]).norm() < 1.2
