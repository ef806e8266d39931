import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import AUTOCAST_DTYPES, DATA_KINDS, DTYPES, Case
from lossbench.bench.case.data import DRAWS, count_distinct_labels, data_of, make_inputs
from lossbench.bench.case.presets import PRESETS, Sizes
from lossbench.bench.case.workload import Workload
from lossbench.bench.errors import UsageError
from lossbench.bench.run.plan import choose_tasks


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"classes": -1}, "classes must be 1 or more, got -1"),
        ({"dim": 2**63}, "dim must be below 2\\*\\*63, got 9223372036854775808"),
        ({"data": "digits"}, "digits has dim 64"),
        ({"data": "digits", "dim": 64, "classes": 11}, "up to 10 classes"),
        ({"data": "digits", "dim": 64, "batch": 1741}, "batches of up to 1740"),
        ({"autocast": True}, "autocast takes dtype bfloat16 or float16, got float32"),
        ({"autocast": True, "dtype": "float64"}, "got float64"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(UsageError, match=message):
        Case("softmax", **{"batch": 8, "dim": 8, "classes": 10, **sizes})


@pytest.mark.parametrize(
    ("data", "batch", "dim", "classes"),
    [
        ("gaussian", 1, 2, 5),
        ("gaussian", 2, 2, 5),
        ("clustered", 17, 2, 3),
        ("clustered", 17, 2, 1000),
        ("digits", 50, 64, 3),
        ("digits", 3, 64, 10),
    ],
)
def test_the_labels_are_counted_without_making_inputs(data, batch, dim, classes):
    case = Case("softmax", batch, dim, classes, data=data)
    assert count_distinct_labels(case) == len(make_inputs(case)["labels"].unique())


def test_a_loss_that_needs_negatives_needs_two_classes():
    with pytest.raises(UsageError, match="triplet_batch_hard needs negatives"):
        Case("triplet_batch_hard", batch=8, dim=8, classes=1).checked()


def test_a_loss_that_is_not_there_is_described_and_not_measured():
    case = Case("vanished", batch=8, dim=8, classes=3)
    assert str(case) == "8x8, C=3, cpu, gaussian"
    with pytest.raises(UsageError, match="unknown loss 'vanished'; the losses are: softmax, "):
        case.checked()
    with pytest.raises(UsageError, match="unknown loss 'vanished'"):
        Workload.of(case)


@pytest.mark.parametrize("preset", ["quick", "ci", "full"])
def test_the_general_presets_cover_every_loss(preset):
    cases = [case for grid in PRESETS[preset].grids for case in grid.cases("cpu")]
    assert {case.loss for case in cases} == {loss.name for loss in impls.losses()}


def test_full_covers_every_axis_in_under_150_cases():
    cases = [case for grid in PRESETS["full"].grids for case in grid.cases("cpu")]
    assert len(cases) == len(set(cases)) < 150
    assert {case.batch for case in cases} == {64, 256, 1024}
    assert {case.dim for case in cases} == {64, 128, 512}
    assert {case.classes for case in cases} == {10, 1000, 10_000, 100_000}
    assert {case.data for case in cases} == set(DATA_KINDS)
    precisions = {(case.dtype, case.autocast) for case in cases}
    lowered = {(dtype, True) for dtype in AUTOCAST_DTYPES}
    assert precisions == {(dtype, False) for dtype in DTYPES} | lowered


def test_a_case_says_whether_it_runs_under_autocast():
    case = Case("softmax", 8, 4, 3, "bfloat16", autocast=True)
    assert str(case) == "8x4, C=3, bfloat16 autocast, cpu, gaussian"
    assert (case.torch_dtype, case.held_dtype) == (torch.bfloat16, torch.float32)
    plain = Case("softmax", 8, 4, 3, "bfloat16")
    assert "autocast" not in str(plain)
    assert plain.held_dtype == torch.bfloat16


def test_a_dtype_that_is_asked_for_is_without_autocast_unless_that_is_too():
    def precisions(**given):
        tasks = choose_tasks("full", ("softmax",), (), "cpu", given)
        return {(case.dtype, case.autocast) for case, _ in tasks}

    assert precisions(dtype=("float32",)) == {("float32", False)}
    assert precisions(dtype=("float16",), autocast=True) == {("float16", True)}


def test_quick_measures_real_digits():
    assert all(grid.data == ("digits",) for grid in PRESETS["quick"].grids)


def test_a_grid_is_every_combination():
    grid = Sizes(("island",), batch=(1, 2), dim=(3,), classes=(4, 5))
    assert [(c.batch, c.classes) for c in grid.cases("cpu")] == [(1, 4), (2, 4), (1, 5), (2, 5)]


@pytest.mark.parametrize("data", ["gaussian", "clustered", "digits"])
@pytest.mark.parametrize("loss", ["softmax", "contrastive", "pairwise_distance"])
def test_inputs_are_the_same_at_every_call_and_differ_by_draw(loss, data):
    case = Case(loss, batch=20, dim=64, classes=10, data=data)
    once, again, *others = (make_inputs(case, draw) for draw in (0, *range(DRAWS)))
    assert tuple(once) == impls.loss(loss).input_names
    for name, tensor in once.items():
        assert torch.equal(tensor, again[name])
    for other in others:
        assert not torch.equal(next(iter(once.values())), next(iter(other.values())))


@pytest.mark.parametrize("data", ["gaussian", "clustered", "digits"])
def test_the_draws_are_of_two_kinds_of_data(data):
    case = Case("softmax", batch=20, dim=64, classes=10, data=data)
    first, second, other = (data_of(case, draw) for draw in range(DRAWS))
    assert first == second == data
    assert other != data
    embeddings, labels = make_inputs(case, draw=2).values()
    tight = embeddings[labels == labels[0]].var(0).mean() < 0.1
    assert tight == (other == "clustered")


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
