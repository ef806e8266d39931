import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import AUTOCAST_DTYPES, DATA_KINDS, DTYPES, Case
from lossbench.bench.case.data import count_distinct_labels, data_of, make_inputs
from lossbench.bench.case.draws import DRAWS, draw_of
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


@pytest.mark.parametrize("preset", ["quick", "ci", "ordinary", "full"])
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


def test_ordinary_has_every_size_of_ordinary_training_once():
    cases = [case for grid in PRESETS["ordinary"].grids for case in grid.cases("cpu")]
    labelled = sum(loss.inputs == "labelled" for loss in impls.losses())
    others = len(impls.losses()) - labelled
    assert len(cases) == len(set(cases)) == labelled * 4 * 3 * 3 + others * 4 * 3
    assert {case.batch for case in cases} == {64, 128, 256, 512}
    assert {case.dim for case in cases} == {64, 128, 512}
    with_labels = {case.classes for case in cases if case.loss in ("arcface", "triplet_weighted")}
    assert with_labels == {10, 100, 1000}
    assert {case.classes for case in cases if case.loss == "contrastive"} == {10}


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
    once, again, *others = (make_inputs(case, draw) for draw in (0, *range(len(DRAWS))))
    assert tuple(once) == impls.loss(loss).input_names
    for name, tensor in once.items():
        assert torch.equal(tensor, again[name])
    for other in others:
        assert not torch.equal(next(iter(once.values())), next(iter(other.values())))


@pytest.mark.parametrize("data", ["gaussian", "clustered", "digits"])
def test_the_draws_are_of_two_kinds_of_data(data):
    case = Case("softmax", batch=20, dim=64, classes=10, data=data)
    kinds = {kind.name: data_of(case, kind) for kind in DRAWS}
    other = kinds.pop("other data")
    assert set(kinds.values()) == {data} != {other}
    embeddings, labels = make_inputs(case, draw=2).values()
    tight = embeddings[labels == labels[0]].var(0).mean() < 0.1
    assert tight == (other == "clustered")


def labels_of(draw=0, **sizes):
    case = Case("softmax", **{"batch": 40, "dim": 64, "classes": 1000, **sizes})
    return make_inputs(case, draw)["labels"]


@pytest.mark.parametrize("data", ["gaussian", "clustered", "digits"])
@pytest.mark.parametrize("draw", range(2 * len(DRAWS)))
def test_labels_are_irregular_in_every_draw(data, draw):
    labels = labels_of(draw, data=data, classes=10)
    counts = labels.bincount(minlength=10)
    assert (labels[:-1] > labels[1:]).any()
    assert (labels[:10] != labels[10:20]).any()
    assert min(counts[0], counts[9]) >= 1
    present = counts[counts > 0]
    kind = draw_of(draw)
    assert present.min() == (1 if kind.rare else 2)
    assert present.max() > present.min()
    assert len(present) == (7 if kind.rare else 10)


def test_labels_are_of_about_four_samples_a_class():
    labels = labels_of()
    assert labels.unique(return_counts=True)[1].tolist().count(4) > 0
    assert len(labels.unique()) == 10


@pytest.mark.parametrize(
    ("batch", "classes", "counts"),
    [
        (1, 1, [1]), (1, 5, [1]), (2, 5, [1, 1]), (3, 2, [1, 2]), (8, 2, [2, 6]), (7, 1, [7]),
    ],
)  # fmt: skip
def test_a_small_batch_is_as_irregular_as_it_can_be(batch, classes, counts):
    found = labels_of(batch=batch, classes=classes).unique(return_counts=True)[1]
    assert sorted(found.tolist()) == counts


def test_all_digits_can_be_drawn():
    for draw, kind in enumerate(DRAWS):
        labels = labels_of(draw, batch=1740, classes=10, data="digits")
        assert len(labels) == kind.rows(1740)
        assert labels.bincount().max() <= 174 or kind.other_data


@pytest.mark.parametrize(("batch", "rows"), [(64, 61), (256, 253), (9, 5), (8, 5), (7, 7), (1, 1)])
def test_an_odd_batch_is_no_multiple_of_two(batch, rows):
    (kind,) = (kind for kind in DRAWS if kind.odd)
    assert kind.rows(batch) == rows
    assert rows % 2 == 1
    number = DRAWS.index(kind)
    assert len(labels_of(number, batch=batch)) == rows
    distances = Workload.of(Case("pairwise_distance", batch, dim=2, classes=1))
    assert distances.cotangents[number].shape == (rows, rows)


def test_a_draw_has_its_reason_and_a_name_of_its_own():
    assert len({kind.name for kind in DRAWS}) == len(DRAWS)
    assert all(kind.reason for kind in DRAWS)
    assert not DRAWS[0].follows


def test_strided_inputs_have_the_numbers_of_the_draw_and_gaps():
    workload = Workload.of(Case("softmax", batch=6, dim=4, classes=3))
    (number,) = (number for number, kind in enumerate(DRAWS) if kind.strided)
    for draw in range(len(DRAWS)):
        for name, leaf in workload.leaves(draw).items():
            assert torch.equal(leaf, workload.inputs[draw][name])
            assert leaf.is_leaf
            assert leaf.requires_grad == (name == "embeddings")
            assert leaf.is_contiguous() == (draw != number)
    embeddings, labels = workload.leaves(number).values()
    assert (embeddings.stride(), labels.stride()) == ((16, 2), (2,))
    assert embeddings.detach().as_strided((6, 4), (4, 1)).isnan().any()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_upstream_factor_of_a_loss_is_no_more_than_1_and_of_either_sign(dtype):
    workload = Workload.of(Case("arcface", batch=8, dim=4, classes=3, dtype=dtype))
    timed, *factors = workload.cotangents
    assert timed is None
    assert all(0.25 <= abs(factor) <= 0.75 for factor in factors)
    assert {bool(factor > 0) for factor in factors} == {True, False}
    assert len({factor.item() for factor in factors}) == len(factors)
    assert workload.exact().cotangents[1].item() == factors[0].item()


@pytest.mark.parametrize(("loss", "axis"), [("softmax", 1), ("center_mse", 0)])
def test_a_later_draw_has_the_classes_in_another_order(loss, axis):
    workload = Workload.of(Case(loss, batch=8, dim=4, classes=3))
    module = workload.module(impls.implementation(loss, "reference"))
    ((name, initial),) = workload.state.items()
    workload.reset(module, 2)
    assert torch.equal(module.state_dict()[name], initial.roll(2, axis))
    workload.reset(module)
    assert torch.equal(module.state_dict()[name], initial)


def test_two_samples_are_of_two_classes():
    for draw in range(len(DRAWS)):
        case = Case("triplet_batch_hard", batch=2, dim=4, classes=50)
        assert len(make_inputs(case, draw)["labels"].unique()) == 2


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
    known = {
        (tuple(image), int(target))
        for image, target in zip(digits.data.tolist(), digits.target, strict=True)
    }
    rows = zip(pixels.round().abs().tolist(), inputs["labels"].tolist(), strict=True)
    assert all((tuple(image), label) in known for image, label in rows)


@pytest.mark.parametrize("draw", range(len(DRAWS)))
def test_pairs_are_similar_or_not_in_any_order(draw):
    same = make_inputs(Case("contrastive", batch=64, dim=4, classes=1000), draw)["same"]
    assert 0.25 < same.mean() < 0.75
    assert (same[::2] != same[0]).any()
    for batch in (2, 3):
        few = make_inputs(Case("contrastive", batch=batch, dim=4, classes=1000), draw)["same"]
        assert set(few.tolist()) == {0.0, 1.0}


def test_close_pairs_are_within_the_margin():
    inputs = make_inputs(Case("contrastive_whole_batch", batch=64, dim=128, classes=10), draw=1)
    assert (inputs["x0"] - inputs["x1"]).norm() < 1.2
