"""Sharded losses on 1, 2, 3 and 4 processes, against the dense float64 reference."""

import math
import os
import re
import subprocess
import sys

import pytest
import torch

from lossbench import impls
from lossbench.bench.paths import ROOT
from lossbench.impls.sharded import over
from tests.impls.sharded.asked import FAULTY_RANKS, _backbone
from tests.impls.sharded.cases import (
    CASES,
    HEADS,
    LOSSES,
    NATIVE_LOSSES,
    WORLDS,
    ShardCase,
)
from tests.impls.sharded.faults import FAULTS
from tests.impls.sharded.measured import LARGEST_ERROR, complaints
from tests.impls.sharded.table import oracle_table

OUTDATED = impls.implementation("softmax", "sharded").outdated()
pytestmark = pytest.mark.skipif(OUTDATED is not None, reason=str(OUTDATED))
EXAMPLE = ROOT / "docs" / "examples" / "train_sharded.py"


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_gradients_and_traffic_are_those_of_the_dense_reference(ranks, loss):
    for case in (case for case in CASES if case.loss == loss):
        for world in case.worlds:
            steps = [ranks[rank]["steps"][str(case), world] for rank in range(world)]
            assert complaints(case, steps) == [], f"{case} on {world} ranks"


def test_every_loss_with_a_sharded_variant_is_asked():
    for variant, losses in {"sharded": LOSSES, "sharded_native": NATIVE_LOSSES}.items():
        registered = [
            loss.name
            for loss in impls.losses()
            if variant in {i.variant for i in impls.implementations(loss.name)}
        ]
        assert sorted(registered) == sorted(losses)


def test_the_oracle_table_has_every_loss_and_number_of_ranks(ranks):
    plain = [case for case in CASES if case.title == "plain"]
    _, *lines = oracle_table(ranks, plain).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]
    assert [loss for loss, variant, *_ in cells if variant == "sharded"] == list(LOSSES)
    assert [loss for loss, variant, *_ in cells if variant != "sharded"] == list(NATIVE_LOSSES)
    largest = [float(error) for line in cells for error in line[2:]]
    assert len(largest) == len(LOSSES + NATIVE_LOSSES) * len(WORLDS)
    assert 0 < max(largest) < LARGEST_ERROR[torch.float64]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found(ranks, fault):
    found = [
        complaints(case, [ranks[n]["faults"][fault.name, str(case)] for n in range(FAULTY_RANKS)])
        for case in fault.tried
    ]
    assert any(found)


@pytest.mark.parametrize("how", ["mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_backbone_has_the_dense_gradient_averaged_and_summed(ranks, loss, how):
    case = ShardCase(loss)
    backbone, reference = _backbone(), case.build("reference")
    x, *rest = case.batch(case.sizes[:2])
    reference(backbone(x), *rest).loss.backward()
    for rank in range(2):
        given = ranks[rank]["conventions"][loss, how]
        assert torch.allclose(given, backbone.weight.grad, rtol=1e-9, atol=1e-12)


def test_a_checkpoint_of_2_ranks_loads_on_3(ranks):
    saved = ranks[0]["resharded"]["saved"]
    assert set(saved) == {"weight", "centers"}
    for rank in range(3):
        loaded = ranks[rank]["resharded"]["loaded"]
        assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_copies_and_dense_states_give_the_same_loss(ranks):
    for rank in range(2):
        found = ranks[rank]["copies"]
        assert len(found["losses"]) == 4
        assert all(torch.equal(loss, found["losses"][0]) for loss in found["losses"])
        assert math.isclose(found["of dense"], found["dense"], rel_tol=1e-12)


@pytest.mark.parametrize("loss", ["sphereface", "triplet_weighted", "center"])
def test_checkpointed_and_retained_passes_give_the_same_gradient(ranks, loss):
    for rank in range(2):
        gradients, counters = ranks[rank]["loops"][loss]
        assert len(gradients) == 3
        assert all(torch.allclose(each, gradients[0], rtol=1e-12) for each in gradients)
        assert set(map(str, counters)) in ({"None"}, {"tensor(1)"})


def test_the_logits_at_inference_are_those_of_the_reference(ranks):
    for rank in range(2):
        found = ranks[rank]["logits"]
        assert set(found) == {*HEADS, "softmax_center", "softmax_center_unsquared"}
        for given, expected in found.values():
            assert torch.allclose(given, expected, rtol=1e-12, atol=1e-12)


def test_the_code_of_the_page_runs_in_all_processes(ranks):
    assert all(answers["page"] >= 3 for answers in ranks)


@pytest.mark.slow
def test_the_worked_example_learns_the_digits_in_two_processes():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", EXAMPLE]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (accuracy,) = re.findall(r"accuracy after 2 epochs: (\S+)", done.stdout)
    assert float(accuracy) > 0.8


def test_mixed_precision_gives_a_float32_loss_and_all_ranks_skip_a_step(ranks):
    for rank in range(2):
        found = ranks[rank]["half"]
        assert found["autocast"].dtype == torch.float32
        assert found["gradient"].dtype == torch.bfloat16
        assert found["gradient"].isfinite().all()
        assert found["skipped"]


def test_no_tensor_is_as_large_as_the_logits_or_the_distances(ranks):
    head, pairs = ranks[0]["largest"]
    assert head <= 2**20 < 64 * 20_000
    assert pairs <= 2**19 < 1024 * 2048


@pytest.mark.parametrize("variant", ["sharded", "sharded_native"])
def test_a_step_takes_less_than_half_of_the_logits_bytes(ranks, variant):
    for rank in range(2):
        assert ranks[rank]["bytes"][variant] < 4 * 512 * 20_000 / 2


def test_bad_inputs_of_one_rank_are_refused_by_all_in_one_line(ranks):
    first, second = (ranks[rank]["refusals"] for rank in range(2))
    for found in (first, second):
        assert "\n" not in "".join(found.values())
        assert found["widths"] == (
            "ValueError: all ranks must give embeddings of one width: rank 0 gave 3 features, "
            "rank 1 gave 4"
        )
        assert found["dtypes"].startswith("ValueError: all ranks must give embeddings of one dtype")
        assert found["classes"].startswith("ValueError: all ranks must compute one loss")
        assert "labels must be from 0 to 3" in found["stray, unchecked"]
        assert found["one class"] == (
            "ValueError: the labels of all ranks must be of two classes or more, all 4 are 2"
        )
        assert found["one class in a rank"] == found["well"] == "no error"
        assert "differentiable once" in found["double backward"]
        assert "differentiable once" in found["of pairs"]
    assert first["stray"] == "ValueError: rank 1 refused its inputs; its own error says why"
    assert second["stray"] == (
        "ValueError: softmax: labels must be from 0 to 3, got 4; ignore_index=4 leaves them out"
    )


def test_a_missing_rank_is_told_in_time(ranks):
    assert ranks[0]["missing"].startswith(
        "TimeoutError: rank 0 of 2: another rank has ended or did not call this loss within 0.5 s"
    )


def test_without_a_process_group_it_is_unsupported():
    softmax = impls.implementation("softmax", "sharded")
    assert softmax.unsupported("cpu", torch.float32).startswith("needs a process group")
    with pytest.raises(RuntimeError, match="a sharded loss needs a process group"):
        softmax.build(num_classes=4, embedding_dim=3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"row_gradient": "max"}, "row_gradient must be one of sum, mean, got 'max'"),
        ({"wait_seconds": 0}, "wait_seconds must be above 0, got 0"),
    ],
)
def test_unknown_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message), over(**setting):
        pass
