"""Training with each loss: its batches, its features, and the loss's share of a step."""

from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.train.accuracy import evaluate
from lossbench.bench.train.batches import schedule
from lossbench.bench.train.course import PLAIN, train_course
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.model import Model, deterministic, mirrored_images
from lossbench.bench.train.recipes import PRESETS, TRAINED_LOSSES
from lossbench.bench.train.share import measure_shares


def test_half_of_the_pairs_are_of_one_class_and_rows_are_drawn_anew_each_epoch():
    experiment = Experiment("contrastive", epochs=2)
    labels = experiment.dataset().train.labels
    first, second = (labels[part] for part in schedule(experiment).chunk(2, 1))
    same = first == second
    assert same[:, ::2].all()
    assert not same[:, 1::2].any()
    plain = schedule(Experiment("softmax", epochs=2))
    one, other = (part.flatten() for part in plain.chunk(2))
    assert len(one.unique()) == len(one) == len(labels) // 64 * 64
    assert not torch.equal(one, other)


@pytest.mark.parametrize("loss", TRAINED_LOSSES)
def test_every_loss_trains_an_epoch_to_finite_features_in_the_plane(loss):
    experiment = Experiment(loss, epochs=1)
    path = train_course(experiment, impls.implementation(loss, "reference"))
    assert len(path.losses) == 1347 // 64
    assert path.losses.isfinite().all()
    accuracy, features = evaluate(experiment, path)
    assert torch.tensor(features.points).shape == (450, 2)
    assert torch.tensor(features.points).isfinite().all()
    assert torch.tensor(features.means).shape == (10, 2)
    assert 0 < accuracy.nearest_neighbour <= 1
    assert bool(features.centers) == ("center" in loss or loss == "island")


@pytest.mark.parametrize("loss", ["softmax_center", "contrastive", "center_mse"])
def test_reversed_features_change_nothing_but_rounding(loss):
    experiment = Experiment(loss, epochs=1)
    implementation = impls.implementation(loss, "reference")
    with deterministic():
        model = Model(experiment, implementation).double()
        turned = Model(experiment, implementation).double()
    turned.load_state_dict(mirrored_images(model.state_dict()))
    data = experiment.dataset().train
    images, labels = data.images[:64].double(), data.labels[:64]
    assert torch.equal(turned.network(images).flip(1), model.network(images))
    torch.testing.assert_close(turned(images, labels), model(images, labels))


def test_softmax_separates_the_digits():
    experiment = Experiment("softmax", epochs=PRESETS["digits"].epochs)
    accuracy, _ = evaluate(
        experiment, train_course(experiment, impls.implementation("softmax", "fused"))
    )
    assert accuracy.logits > 0.8
    assert accuracy.nearest_mean > 0.8
    assert accuracy.nearest_neighbour > 0.8


def test_two_trainings_are_equal_with_the_same_seed_only():
    experiment = Experiment("triplet_batch_hard", epochs=1)
    reference = impls.implementation("triplet_batch_hard", "reference")
    one, again = (train_course(experiment, reference) for _ in range(2))
    assert torch.equal(one.losses, again.losses)
    for name, tensor in one.ends.items():
        assert torch.equal(tensor, again.ends[name])
    other = train_course(replace(experiment, seed=1), reference)
    assert not torch.equal(one.losses, other.losses)
    assert not torch.are_deterministic_algorithms_enabled()


def test_centres_do_not_move_with_a_rate_of_0():
    experiment = Experiment("center_mse", epochs=1, center_rate=0.0)
    reference = impls.implementation("center_mse", "reference")
    name = "objective.loss.centers"
    start = train_course(experiment, reference, PLAIN, 0).ends[name]
    assert torch.equal(train_course(experiment, reference).ends[name], start)
    moved = train_course(replace(experiment, center_rate=None), reference).ends[name]
    assert not torch.equal(moved, start)


def test_the_share_of_a_step_is_measured_for_each_variant():
    shares = measure_shares(Experiment("softmax", epochs=1), ("reference", "fused"), 0.02)
    assert list(shares) == ["reference", "fused"]
    for share in shares.values():
        assert 0 <= share.share.low <= share.share.median <= share.share.high <= 1
        assert 0 < share.share.median < 1
        assert share.loss_seconds > 0
