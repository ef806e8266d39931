"""Every cost model agrees with the counted operations and with the tensors of its Loss."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.cli import main
from lossbench.bench.measure.ceilings import sizes_of
from lossbench.impls.cost import Cost
from tests.makers import counted
from tests.makers.tally import Tally

LOSSES = [loss.name for loss in impls.losses()]
EVERY = pytest.mark.parametrize("loss", LOSSES)
PHASES = ("forward", "step")

cosines = partial(counted.linear, rows=True, columns=True)
arcface = partial(counted.cosine_entropy, scale=32)


def unit_columns(scores, labels, columns):
    return F.cross_entropy(scores / (columns + 1e-7), labels)


def softmax_and_root(scores, labels, squared):
    return F.cross_entropy(scores, labels) + 0.2 / (2 * len(labels)) * squared.sum().sqrt()


def softmax_and_squares(scores, labels, squared):
    return F.cross_entropy(scores, labels, reduction="sum") + 0.003 * squared.sum() / 2


def contrastive(inputs, whole_batch):
    same = inputs["same"]

    def mean(squared):
        distance = squared.sum().sqrt() if whole_batch else squared.sqrt()
        return (same * distance**2 + (1 - same) * F.relu(1.2 - distance) ** 2).mean() / 2

    return mean


ALGORITHMS = {
    "softmax": partial(counted.linear, entropy=F.cross_entropy),
    "modified_softmax": partial(counted.linear, entropy=unit_columns, columns=True),
    "normface": partial(cosines, entropy=partial(counted.cosine_entropy, scale=16)),
    "sphereface": partial(cosines, entropy=counted.sphere_entropy),
    "arcface": partial(cosines, entropy=partial(arcface, target=counted.with_margin)),
    "arcface_guarded": partial(
        cosines, entropy=partial(arcface, target=counted.with_guarded_margin)
    ),
    "softmax_center_unsquared": partial(counted.linear_and_centers, function=softmax_and_root),
    "softmax_center": partial(counted.linear_and_centers, function=softmax_and_squares),
    "center_all_pairs": counted.center_all_pairs,
    "center": partial(counted.own_centers, function=lambda squared: squared.sum() / 2),
    "center_mse": partial(counted.own_centers, function=lambda squared: squared.mean() / 5),
    "island": counted.island,
    "triplet_batch_hard": counted.batch_hard,
    "triplet_weighted_unshifted": partial(counted.weighted, means=counted.unshifted_means),
    "triplet_weighted": partial(counted.weighted, means=counted.shifted_means),
    "contrastive_whole_batch": partial(
        counted.differences, function=partial(contrastive, whole_batch=True)
    ),
    "contrastive": partial(counted.differences, function=partial(contrastive, whole_batch=False)),
    "pairwise_distance": partial(counted.all_pairs, root=True),
    "pairwise_squared_distance": partial(counted.all_pairs, root=False),
    "vector_distance": partial(
        counted.differences, function=lambda _, upstream: lambda q: upstream * q.sum().sqrt()
    ),
}


def workload_of(loss):
    return Workload.of(Case(loss, batch=12, dim=5, classes=7, dtype="float64"))


@EVERY
def test_operations_are_those_of_an_algorithm_that_computes_the_loss(loss):
    assert loss in ALGORITHMS, (
        f"{loss}: count its operations by hand: in tests/impls/test_costs.py, give ALGORITHMS the "
        f"entry {loss!r}, an algorithm that computes it in the steps of tests/makers/counted.py"
    )
    workload, tally = workload_of(loss), Tally()
    upstream = {} if workload.cotangents[0] is None else {"upstream": workload.cotangents[0]}
    value, gradients = ALGORITHMS[loss](tally, workload.inputs[0], workload.state, **upstream)
    expected = workload.step(workload.module(impls.implementation(loss, "reference")))
    known = {**expected.gradients, **{f"after.{k}": v for k, v in expected.state.items()}}
    if not upstream:
        torch.testing.assert_close(value, expected.outputs["loss"])
    torch.testing.assert_close(gradients, {name: known[name] for name in gradients})
    assert set(expected.gradients) <= set(gradients)
    cost, sizes = impls.loss(loss).cost, sizes_of(workload.case)
    assert [cost.flops(phase, sizes) for phase in PHASES] == [tally.forward_flops, tally.flops]


@EVERY
def test_elements_are_those_of_the_tensors_read_and_written(loss):
    workload = workload_of(loss)
    module = workload.module(impls.implementation(loss, "reference"))
    given = workload.inputs[0]
    read = {name: tensor for name, tensor in given.items() if tensor.dim() == 2}
    read.update(module.named_parameters())
    outcome = workload.step(module)
    changed = [
        v for k, v in outcome.state.items() if v.dim() == 2 and (v != workload.state[k]).any()
    ]
    distances = [v for v in outcome.outputs.values() if v.dim() == 2 and "labels" not in given]
    again = dict(read)
    if "centers" in read and loss != "island":
        # The loss reads only the centres of the batch's labels; a move in the forward pass, all.
        again["centers"] = read["centers"][given["labels"].unique()]
        if not changed:
            read = again
    forward = sum(v.numel() for v in (*read.values(), *changed, *distances))
    backward = sum(v.numel() for v in (*again.values(), *distances, *outcome.gradients.values()))
    cost, sizes = impls.loss(loss).cost, sizes_of(workload.case)
    for phase, elements in (("forward", forward), ("step", forward + backward)):
        assert cost.traffic_bytes(phase, sizes, itemsize=2) == 2 * elements


@EVERY
def test_show_prints_the_formulae(loss, capsys):
    assert main(["show", loss]) == 0
    out = " ".join(capsys.readouterr().out.split())
    cost = impls.loss(loss).cost
    assert f"at least {cost.forward_flops} FLOPs, {cost.forward_elements} elements" in out
    assert f"at least {cost.step_flops} FLOPs, {cost.step_elements} elements" in out


@EVERY
def test_a_step_costs_more_than_its_forward_pass(loss):
    cost, sizes = impls.loss(loss).cost, {"B": 2, "D": 3, "C": 4, "U": 1}
    assert cost.flops("step", sizes) > cost.flops("forward", sizes) > 0
    assert cost.traffic_bytes("step", sizes, 4) > cost.traffic_bytes("forward", sizes, 4) > 0


@pytest.mark.parametrize(
    ("formula", "value"),
    [("2*B*D", 30), ("B**2 - D", 4), ("D*(B + 1)/2", 10), ("C", 7), ("1.5*U", 3)],
)
def test_a_formula_is_arithmetic_in_the_sizes(formula, value):
    cost = Cost(formula, "B", formula, "D")
    sizes = {"B": 3, "D": 5, "C": 7, "U": 2}
    assert cost.flops("forward", sizes) == value
    assert cost.flops("step", sizes) == 3
    assert cost.traffic_bytes("forward", sizes, itemsize=4) == 4 * value
    assert cost.traffic_bytes("step", sizes, itemsize=4) == 20


@pytest.mark.parametrize(
    "formula",
    ["", "N*D", "B*", "print(B)", "B.real", "B[0]", "B < D", "B // D", "-B", "'B'", "True", "1j"],
)
def test_any_other_expression_is_refused(formula):
    with pytest.raises(ValueError, match=r"expected a formula of numbers, B, D, C, U and \+ - \*"):
        Cost("B", formula, "B", "B")
