"""Training under each loss: what is read, learned, held against the reference, and drawn."""

import gzip
import json
from dataclasses import replace

import pytest
import torch

import impls
from bench.cli import main
from bench.train.accuracy import evaluate
from bench.train.course import PLAIN, course_of, gaps_beside, train
from bench.train.curves import follow, train_reference
from bench.train.data import load
from bench.train.experiment import Experiment, Model, deterministic, mirrored, schedule
from bench.train.idx import read_idx
from bench.train.recipes import LOSSES, PRESETS
from bench.train.records import Trained, TrainingFile
from bench.train.run import Plan, experiments_of
from bench.train.run import run as run_plan
from bench.train.share import measure_shares
from bench.train.table import verdict
from impls.registry import Implementation

STEPS = 20
QUICK = ["--epochs", "1", "--compare", str(STEPS), "--threads", "1", "--device", "cpu"]


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.dim()]) + sizes + bytes(array.flatten().int().tolist())


def write_mnist(folder, count=80, pack=gzip.compress):
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    for prefix in ("train", "t10k"):
        labels = torch.arange(count) % 10
        images = torch.randint(0, 50, (count, 12, 12), generator=generator)
        for image, label in zip(images, labels, strict=True):
            image[int(label)] = 250
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(pack(idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_is_read_gzipped_or_not(tmp_path, pack):
    array = torch.arange(24).reshape(2, 3, 4)
    (tmp_path / "images").write_bytes(pack(idx(array)))
    assert torch.equal(read_idx(tmp_path / "images", 3), array.byte())


LABELS = idx(torch.arange(10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with 0x00000801; got an empty file"),
        (LABELS[:6], "begins with 0x00000801; got 0x00000801"),
        (idx(torch.zeros(2, 3, 4)), "bytes in 1 dimensions, which begins with 0x00000801; got 0x0"),
        (LABELS[:-1], "expected 10 bytes after the header, for [10]; got 9"),
        (LABELS + b"0", "expected 10 bytes after the header, for [10]; got 11"),
        (idx(torch.zeros(0)), "expected at least one element, got [0]"),
        (gzip.compress(LABELS)[:-6], "damaged gzip data"),
        (gzip.compress(LABELS)[:-8] + b"00000000", "damaged gzip data"),
        (None, "No such file or directory; expected an IDX file"),
    ],
)
def test_what_is_no_idx_file_is_told_in_a_line(tmp_path, content, message):
    path = tmp_path / "labels"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="labels: ") as raised:
        read_idx(path, 1)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_mnist_is_read_from_a_folder_and_standardised(tmp_path):
    data = load(str(write_mnist(tmp_path)), "cpu")
    assert data.train.images.shape == data.test.images.shape == (80, 1, 12, 12)
    assert data.side == 12
    assert abs(float(data.train.images.mean())) < 1e-5
    assert float(data.train.images.std()) == pytest.approx(1)
    assert data.test.labels.tolist() == [i % 10 for i in range(80)]


def test_digits_are_split_alike_whatever_the_seed():
    data = load("digits", "cpu")
    assert len(data.train.labels) + len(data.test.labels) == 1797
    assert data.test.labels.bincount().min() >= 40


def spoil(folder, name, array):
    (folder / name).write_bytes(idx(array))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", torch.arange(70) % 10, "80 images and 70 labels of train"),
        ("train-labels-idx1-ubyte", torch.arange(80) % 9, "all digits from 0 to 9, got 0, 1"),
        ("t10k-labels-idx1-ubyte", torch.arange(80) % 11, "all digits from 0 to 9, got 0, 1"),
        ("t10k-images-idx3-ubyte", torch.zeros(80, 9, 9), "images of one shape, got [12, 12]"),
        ("train-images-idx3-ubyte", torch.zeros(80, 9, 8), "square images of 8 pixels"),
    ],
)
def test_a_folder_that_is_no_mnist_is_refused(tmp_path, name, array, message, capsys):
    write_mnist(tmp_path)
    spoil(tmp_path, name, array)
    assert main(["train", "--mnist", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "softmaxx"], "'softmaxx' is not one of 'softmax'"),
        (["--loss", "pairwise_distance"], "'pairwise_distance' is not one of 'softmax'"),
        (["--preset", "huge"], "'huge' is not one of 'digits', 'mnist', 'center-resnet'"),
        (["--preset", "mnist"], "--preset mnist needs --mnist DIR"),
        (["--preset", "digits", "--mnist", "/x"], "--preset digits takes no --mnist"),
        (["--mnist", "/nowhere"], "/nowhere: expected MNIST's train-images-idx3-ubyte"),
        (
            ["--loss", "island", "--variant", "pml"],
            "island: no variant 'pml'; there are: reference",
        ),
        (["--batch", "4"], "4 is not in the range x>=8"),
        (["--batch", "2000"], "batch must be at most 1347, the number of training images; got 200"),
        (["--lr", "0"], "0.0 is not in the range x>0"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--out", "/proc/nowhere"], "expected a folder to write to"),
    ],
)
def test_a_wrong_option_is_told_in_a_line(arguments, message, capsys):
    assert main(["train", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert out == ""


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


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_an_epoch_to_finite_features_in_the_plane(loss):
    experiment = Experiment(loss, epochs=1)
    path = train(experiment, impls.implementation(loss, "reference"))
    assert len(path.losses) == 1347 // 64
    assert path.losses.isfinite().all()
    accuracy, features = evaluate(experiment, path)
    assert torch.tensor(features.points).shape == (450, 2)
    assert torch.tensor(features.points).isfinite().all()
    assert torch.tensor(features.means).shape == (10, 2)
    assert 0 < accuracy.nearest_neighbour <= 1
    assert bool(features.centers) == ("center" in loss or loss == "island")


@pytest.mark.parametrize("loss", ["softmax_center", "contrastive", "center_mse"])
def test_reversed_features_train_to_the_same_but_for_rounding(loss):
    experiment = Experiment(loss, epochs=1)
    implementation = impls.implementation(loss, "reference")
    with deterministic():
        model = Model(experiment, implementation).double()
        turned = Model(experiment, implementation).double()
    turned.load_state_dict(mirrored(model.state_dict()))
    data = experiment.dataset().train
    images, labels = data.images[:64].double(), data.labels[:64]
    assert torch.equal(turned.network(images).flip(1), model.network(images))
    torch.testing.assert_close(turned(images, labels), model(images, labels))


def test_softmax_tells_the_digits_apart():
    experiment = Experiment("softmax", epochs=PRESETS["digits"].epochs)
    accuracy, _ = evaluate(experiment, train(experiment, impls.implementation("softmax", "fused")))
    assert accuracy.logits > 0.8
    assert accuracy.nearest_mean > 0.8
    assert accuracy.nearest_neighbour > 0.8


def test_two_trainings_of_a_seed_are_the_same_and_of_another_not():
    experiment = Experiment("triplet_batch_hard", epochs=1)
    reference = impls.implementation("triplet_batch_hard", "reference")
    one, again = (train(experiment, reference) for _ in range(2))
    assert torch.equal(one.losses, again.losses)
    for name, tensor in one.ends.items():
        assert torch.equal(tensor, again.ends[name])
    other = train(replace(experiment, seed=1), reference)
    assert not torch.equal(one.losses, other.losses)
    assert not torch.are_deterministic_algorithms_enabled()


EXPERIMENT = Experiment("softmax", epochs=1)


@pytest.mark.parametrize("variant", ["vectorized", "fused", "torch"])
def test_the_curve_of_a_right_variant_coincides(variant):
    curve = follow(EXPERIMENT, impls.implementation("softmax", variant), STEPS)
    assert curve.verdict == "coincides"
    assert len(curve.losses) == STEPS
    assert curve.largest_gap <= curve.allowed < 1e-2


def steeper(loss, factor, start):
    """Return an implementation whose gradient is off by a factor from a call on."""

    class Off(impls.implementation(loss, "vectorized").builder):
        calls = 0

        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            self.calls += 1
            scale = factor if self.calls > start else 1
            return out._replace(loss=out.loss.detach() + scale * (out.loss - out.loss.detach()))

    return Implementation(impls.loss(loss), "off", Off)


@pytest.mark.parametrize("loss", ["softmax", "center_mse"])
@pytest.mark.parametrize("start", [0, 5])
def test_a_steeper_gradient_parts_the_step_after_it_is_taken(loss, start):
    curve = follow(replace(EXPERIMENT, loss=loss), steeper(loss, 1.05, start), STEPS)
    assert curve.parted == start + 1
    assert curve.gap > curve.allowed
    assert curve.verdict == "parts"
    assert curve.fault.step == start
    assert curve.fault.quantity == "grad.features"
    assert curve.fault.error == pytest.approx(0.05, rel=1e-3)


def test_a_count_that_stands_still_is_found_in_the_state():
    class Stuck(impls.implementation("sphereface", "vectorized").builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            self.iteration.fill_(1)
            return out

    stuck = Implementation(impls.loss("sphereface"), "stuck", Stuck)
    experiment = Experiment("sphereface", epochs=1)
    curve = follow(experiment, stuck, STEPS)
    assert curve.verdict == "parts"
    assert (curve.fault.step, curve.fault.quantity) == (1, "after.iteration")


def test_a_curve_that_stops_being_finite_parts_there():
    class Broken(impls.implementation("softmax", "vectorized").builder):
        calls = 0

        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            self.calls += 1
            return out._replace(loss=out.loss * (torch.nan if self.calls > 3 else 1))

    curve = follow(EXPERIMENT, Implementation(impls.loss("softmax"), "broken", Broken), STEPS)
    assert (curve.parted, curve.verdict) == (3, "parts")
    shown = verdict(Trained("broken", "trained", curve=curve)).plain
    assert shown.startswith("parts at step 3: it is nan there: loss is off by inf at step 3")
    healed = replace(curve, fault=None)
    assert healed.verdict == "parts"
    assert (
        "each of its steps along the reference's path is right"
        in verdict(Trained("broken", "trained", curve=healed)).plain
    )


def test_a_curve_within_what_rounding_explains_does_not_part():
    course = course_of(EXPERIMENT, STEPS)
    path = train(EXPERIMENT, impls.implementation("softmax", "reference"), PLAIN, STEPS)
    assert (gaps_beside(path, course.exact) <= course.rounding).all()
    assert (course.rounding.diff() >= 0).all()


def test_an_objective_that_is_not_finite_is_told_with_its_step():
    with pytest.raises(ValueError, match=r"at step \d+ with --lr 1e\+30; a smaller one"):
        train_reference(Experiment("softmax", epochs=1, rate=1e30), 1)


def test_the_share_of_a_step_is_measured_for_each_variant():
    shares = measure_shares(EXPERIMENT, ("reference", "fused"), 0.02)
    assert list(shares) == ["reference", "fused"]
    for share in shares.values():
        assert 0 <= share.share.low <= share.share.median <= share.share.high <= 1
        assert 0 < share.share.median < 1
        assert share.loss_seconds > 0


def run(folder, *arguments):
    assert main(["train", "--out", str(folder), *QUICK, *arguments]) == 0
    return TrainingFile.model_validate_json((folder / "training.json").read_bytes()).root


def test_a_call_leaves_figures_and_figures_in_numbers_the_same_by_seed(tmp_path, capsys):
    losses = ("--loss", "center_mse", "--loss", "contrastive", "--no-share")
    one, again = (run(tmp_path / name, *losses) for name in "ab")
    out = capsys.readouterr().out
    for text in (
        "softmax + 0.1 · center_mse",
        "nearest mean",
        "coincides over 20 of 20 steps",
        "1-NN",
    ):
        assert text in out
    assert one.lessons == again.lessons
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    names = ("center_mse", "contrastive", "features", "curves")
    assert set(files) == {"training.json"} | {f"{n}.{e}" for n in names for e in ("svg", "png")}
    for name in set(files) - {"training.json"}:
        assert files[name] == (tmp_path / "b" / name).read_bytes()
    for name in names:
        assert b"http://www.w3.org/1999/xlink" in files[f"{name}.svg"]
        assert b'href="http' not in files[f"{name}.svg"]
    (lesson, _) = one.lessons
    assert {trained.variant for trained in lesson.variants} == {
        i.variant for i in impls.implementations("center_mse") if not i.mode
    } - {"reference"}


class Impatient:
    """Presses Ctrl-C when the second loss begins."""

    def __init__(self):
        self.finished = 0

    def working(self, _loss, _task):
        if self.finished:
            raise KeyboardInterrupt

    def done(self, _lesson):
        self.finished += 1


def test_what_was_done_before_it_is_stopped_is_kept(tmp_path):
    experiments = experiments_of(("softmax", "normface"), Experiment("softmax", epochs=1))
    plan = Plan("digits", experiments, ("vectorized",), 5, 0.0, 1, 60)
    with pytest.raises(KeyboardInterrupt):
        run_plan(tmp_path, plan, Impatient())
    found = TrainingFile.model_validate_json((tmp_path / "training.json").read_bytes()).root
    assert [lesson.experiment.loss for lesson in found.lessons] == ["softmax"]
    assert (tmp_path / "softmax.svg").exists()
    assert (tmp_path / "features.png").exists()


def test_a_folder_with_a_training_is_not_written_over(tmp_path, capsys):
    (tmp_path / "training.json").write_text("{}")
    assert main(["train", "--out", str(tmp_path), *QUICK]) == 2
    assert "holds a training already; choose another --out" in capsys.readouterr().err


def test_mnist_is_trained_on_and_shares_are_kept(tmp_path):
    folder = write_mnist(tmp_path / "mnist")
    found = run(tmp_path / "out", "--mnist", str(folder), "--loss", "softmax", "--batch", "16")
    (lesson,) = found.lessons
    assert found.preset == "mnist"
    assert len(lesson.reference.features.points) == 80
    assert len(lesson.reference.losses) == 5
    shares = [lesson.reference_share, *(t.share for t in lesson.variants if t.curve)]
    assert all(0 < share.share.median < 1 for share in shares)


def test_the_resnet_is_trained_as_002_has_it(tmp_path):
    found = run(tmp_path, "--preset", "center-resnet", "--loss", "center_mse", "--no-share")
    (lesson,) = found.lessons
    assert lesson.experiment.network == "resnet"
    assert lesson.objective == "softmax + 0.1 · center_mse"
    assert {t.curve.verdict for t in lesson.variants if t.curve} == {"coincides"}


def test_centres_stay_where_they_are_without_a_rate():
    experiment = Experiment("center_mse", epochs=1, center_rate=0.0)
    reference = impls.implementation("center_mse", "reference")
    name = "objective.loss.centers"
    start = train(experiment, reference, PLAIN, 0).ends[name]
    assert torch.equal(train(experiment, reference).ends[name], start)
    moved = train(replace(experiment, center_rate=None), reference).ends[name]
    assert not torch.equal(moved, start)


def test_what_is_not_trained_keeps_its_reason(tmp_path, capsys):
    found = run(tmp_path, "--loss", "softmax", "--lr", "1e30", "--no-share")
    (lesson,) = found.lessons
    assert lesson.reference is None
    assert "a smaller one may keep it finite" in lesson.reason
    assert "a smaller one may keep it finite" in capsys.readouterr().out
    assert json.loads((tmp_path / "training.json").read_text())["schema"] == 1
