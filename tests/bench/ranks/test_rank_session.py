"""Losses checked, counted and timed on two real ranks, and on ranks that are imagined."""

import re
from unittest.mock import patch

import pytest
import torch.distributed as dist

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.cli import main
from lossbench.bench.measure.judge import RefusedTimes
from lossbench.bench.ranks import calls, parts
from lossbench.bench.ranks.judge import judge_part, sample_part
from lossbench.bench.ranks.probe import (
    rank_costs,
    sample_beside_imagined,
    sample_collectives,
)
from lossbench.bench.run.reading import read_records
from lossbench.bench.timing.sampling import Sampling
from lossbench.impls.sharded.ranks import Ranks
from tests.makers.ranks import run_ranks

OUTDATED = impls.implementation("softmax", "sharded").outdated()
pytestmark = pytest.mark.skipif(OUTDATED is not None, reason=str(OUTDATED))
B, D, C = 16, 4, 6
# A mean over the samples, a sum over them, and a loss of the gathered batch.
LOSSES = ("softmax", "center", "triplet_batch_hard")
VARIANTS = ("reference", "fused", "sharded")
PEERS = ("loss_parallel", "megatron")
SAMPLING = Sampling(0.02)


def case_of(loss, ranks=2):
    return Case(loss, B, D, C, ranks=ranks)


def answer(_folder):
    ranks = Ranks(dist.group.WORLD)
    softmax = case_of("softmax")
    found = {
        "judged": {
            (loss, variant): judge_part(ranks, case_of(loss), variant)
            for loss in LOSSES
            for variant in VARIANTS
        },
        "peers": {name: judge_part(ranks, softmax, name) for name in PEERS},
        "third parties": {
            variant: judge_part(ranks, case_of("triplet_batch_hard"), variant)
            for variant in ("pml", "otl")
        },
        "times": sample_part(ranks, softmax, VARIANTS, SAMPLING, validate=True),
        "links": sample_collectives(ranks),
        "beside": sample_beside_imagined(ranks, softmax, ("sharded",), SAMPLING),
    }
    with patch.object(parts, "MEANS", {"center"}):
        found["a sum that is averaged"] = judge_part(ranks, case_of("center"), "fused")
    with patch.object(calls, "write_state", lambda *_: None):
        found["a stale state"] = sample_part(
            ranks, softmax, ("reference",), SAMPLING, validate=True
        )
    return found


@pytest.fixture(scope="module")
def answers():
    return run_ranks(2, answer, 300)


def test_every_variant_agrees_with_the_oracle_on_the_joined_batch(answers):
    for rank in answers:
        for cell, judgement in rank["judged"].items():
            assert judgement.status == "passed", f"{cell}: {judgement.reason}"
            quantities = {part.quantity for part in judgement.agreement}
            assert {"out.loss", "grad.embeddings"} <= quantities
            assert judgement.memory.step_peak_bytes > 0
    assert "grad.weight" in {
        p.quantity for p in answers[0]["judged"]["softmax", "sharded"].agreement
    }


def test_the_traffic_is_that_of_the_formulas(answers):
    judged = {cell: found.traffic for cell, found in answers[0]["judged"].items()}
    weights, rows, labels, facts = D * C * 4, B // 2 * D * 4, B // 2 * 8, 32
    assert judged["softmax", "fused"].given_bytes == weights
    assert judged["center", "fused"].given_bytes == rows + labels
    assert judged["triplet_batch_hard", "fused"].given_bytes == rows + labels
    whole_rows = B * D * 4
    assert (
        judged["softmax", "sharded"].given_bytes == facts + rows + labels + 3 * B * 4 + whole_rows
    )
    assert judged["softmax", "sharded"].calls == 6


def test_a_variant_that_counts_no_correct_anchors_is_judged_by_its_loss(answers):
    for variant, judgement in answers[0]["third parties"].items():
        if judgement.status == "unsupported":
            continue
        assert judgement.status in ("passed", "departs"), f"{variant}: {judgement.reason}"
        quantities = {part.quantity for part in judgement.agreement}
        assert "out.loss" in quantities
        assert "out.correct" not in quantities


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_agrees_with_three_all_reduces_of_a_number_a_sample(answers, peer):
    judgement = answers[0]["peers"][peer]
    if judgement.status == "unsupported":
        pytest.skip(judgement.reason)
    assert judgement.status == "passed", judgement.reason
    kinds = [(each.kind, each.given_bytes) for each in judgement.traffic.collectives]
    assert kinds.count(("all-reduce", B * 4)) == 3
    assert len(kinds) == 7


def test_wrong_schemes_are_refused_before_and_after_the_timing(answers):
    assert answers[0]["a sum that is averaged"].status == "refused"
    stale = answers[0]["a stale state"]["reference"]
    assert isinstance(stale, RefusedTimes)
    assert stale.reason.startswith("when timed: ")


def test_the_slowest_ranks_times_are_paired_with_the_references(answers):
    assert answers[1]["times"] == {}
    times = answers[0]["times"]
    assert set(times) == set(VARIANTS)
    reference = times["reference"].step.processes[0].seconds
    for variant in VARIANTS:
        (samples,) = times[variant].step.processes
        assert samples.reference_seconds == reference
        assert times[variant].forward.median_seconds > 0


def test_links_and_steps_with_and_without_the_others_are_measured(answers):
    assert {each.collective.kind for each in answers[0]["links"]} == set(parts_of_links())
    assert all(each.seconds > 0 for each in answers[0]["links"])
    step = answers[0]["beside"]["sharded"]
    assert step.step_seconds > 0 < step.computed_seconds
    assert step.traffic == answers[0]["judged"]["softmax", "sharded"].traffic


def parts_of_links():
    return ("all-gather", "all-reduce", "reduce-scatter")


def test_one_of_many_imagined_ranks_has_its_shard_and_their_traffic():
    many = 256
    case = Case("softmax", 4 * many, D, 512, ranks=many)
    cost = rank_costs(case, ("sharded",), SAMPLING)["sharded"]
    assert cost.parameter_bytes == D * 2 * 4
    rows, samples = 4 * D * 4, 4 * many
    assert cost.traffic.given_bytes == 32 + rows + 4 * 8 + 3 * samples * 4 + many * rows
    assert not dist.is_initialized()


@pytest.mark.slow
def test_a_run_of_two_ranks_has_records_of_two_ranks(tmp_path, capsys):
    sizes = ["--batch", "16", "--dim", "4", "--classes", "6", "--budget", "0.05"]
    run = ["run", "--ranks", "2", "--loss", "softmax", "--variant", "sharded", *sizes]
    assert main([*run, "--processes", "1", "--out", str(tmp_path)]) == 0
    assert re.search(r"each rank gives \S+ B to 6 collectives a step", capsys.readouterr().out)
    records = read_records(tmp_path)
    assert [(r.variant, r.case.ranks, r.status) for r in records] == [
        ("reference", 2, "passed"), ("sharded", 2, "passed"),
    ]  # fmt: skip
    assert records[1].step.speedup is not None
