"""The command ``train``: its errors, its output, and the files that it writes."""

import json

import pytest

from lossbench import impls
from lossbench.bench.cli import main
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.records import TrainingFile
from lossbench.bench.train.run import TrainPlan, experiments_of, run_training
from tests.makers.mnist import write_mnist

QUICK = ["--epochs", "1", "--compare", "20", "--threads", "1", "--device", "cpu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "softmaxx"], "no loss 'softmaxx'; did you mean 'softmax'? there are: soft"),
        (["--loss", "pairwise_distance"], "no loss 'pairwise_distance'; there are: softmax"),
        (["--preset", "huge"], "'huge' is not one of 'digits', 'mnist', 'center-resnet'"),
        (["--preset", "mnist"], "--preset mnist needs --mnist DIR"),
        (["--preset", "digits", "--mnist", "/x"], "--preset digits takes no --mnist"),
        (["--mnist", "/nowhere"], "/nowhere: expected MNIST's train-images-idx3-ubyte"),
        (
            ["--loss", "island", "--variant", "pml"],
            "no variant 'pml' of island; there are: reference",
        ),
        (["--batch", "4"], "4 is not in the range x>=8"),
        (["--batch", "2000"], "batch must be at most 1347, the number of training images; got 200"),
        (["--lr", "0"], "0.0 is not in the range x>0"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--out", "/proc/nowhere"], "expected a folder to write to"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(arguments, message, capsys):
    assert main(["train", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert out == ""


def run(folder, *arguments):
    assert main(["train", "--out", str(folder), *QUICK, *arguments]) == 0
    return TrainingFile.model_validate_json((folder / "training.json").read_bytes()).root


def test_a_call_writes_plots_and_numbers_that_are_equal_for_the_same_seed(tmp_path, capsys):
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
    assert (lesson.experiment.rate, lesson.experiment.center_rate) == (0.01, 5)
    assert {trained.variant for trained in lesson.variants} == {
        i.variant for i in impls.implementations("center_mse") if not i.mode and i.is_for("cpu")
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


def test_results_from_before_an_interruption_are_kept(tmp_path):
    experiments = experiments_of(("softmax", "normface"), Experiment("softmax", epochs=1))
    plan = TrainPlan("digits", experiments, ("vectorized",), 5, 0.0, 1, 60)
    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path, plan, Impatient())
    found = TrainingFile.model_validate_json((tmp_path / "training.json").read_bytes()).root
    assert [lesson.experiment.loss for lesson in found.lessons] == ["softmax"]
    assert (tmp_path / "softmax.svg").exists()
    assert (tmp_path / "features.png").exists()


def test_a_folder_with_a_training_is_not_overwritten(tmp_path, capsys):
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


def test_the_resnet_is_trained_by_the_recipe_of_002(tmp_path):
    found = run(tmp_path, "--preset", "center-resnet", "--loss", "center_mse", "--no-share")
    (lesson,) = found.lessons
    assert lesson.experiment.network == "resnet"
    assert lesson.objective == "softmax + 0.1 · center_mse"
    assert {t.curve.verdict for t in lesson.variants if t.curve} == {"coincides"}


def test_the_reference_can_be_trained_alone(tmp_path):
    found = run(tmp_path, "--loss", "softmax", "--variant", "reference", "--no-share")
    (lesson,) = found.lessons
    assert lesson.variants == ()
    assert lesson.reference.accuracy.nearest_mean > 0


def test_a_loss_that_cannot_be_trained_has_a_reason(tmp_path, capsys):
    found = run(tmp_path, "--loss", "softmax", "--lr", "1e30", "--no-share")
    (lesson,) = found.lessons
    assert lesson.reference is None
    assert "a smaller one may keep it finite" in lesson.reason
    assert "a smaller one may keep it finite" in capsys.readouterr().out
    assert json.loads((tmp_path / "training.json").read_text())["schema"] == 1
