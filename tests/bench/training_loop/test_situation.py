"""A situation finds faults, names the smallest input, and lets a limit excuse a refusal alone."""

import pytest
import torch

from lossbench.bench.training_loop.asking import loop_workers
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.situation import LoopFinding, Situation, find, judge
from lossbench.bench.training_loop.trainee import LoopSizes, Trainee, check_same, trainees_of
from lossbench.impls import limits
from lossbench.impls.outside import register_from
from lossbench.impls.registry import register
from lossbench.impls.vectorized.margin import ArcFace
from lossbench.impls.vectorized.triplet import TripletBatchHard
from tests.makers.outside import registry_kept, write_contender

EXPORT = LOOP_SITUATIONS["export"]


def refuse(_trainee):
    raise RuntimeError("no")


def enter(cls, loss="arcface", **options):
    register(loss, "mine", **options)(cls)
    return Trainee(loss, "mine")


class Doubled(ArcFace):
    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        return out._replace(loss=out.loss * (1 + (len(labels) > 1)))


class Shifted(ArcFace):
    """A module that changes a parameter in evaluation."""

    def forward(self, embeddings, labels):
        with torch.no_grad():
            self.weight += 1
        return super().forward(embeddings, labels)


class ManyAlone(TripletBatchHard):
    def forward(self, embeddings, labels):
        if len(embeddings) > 2:
            raise ValueError("too many")
        return super().forward(embeddings, labels)


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    ("cls", "situation", "reason"),
    [
        (Doubled, "accumulation", "differs by"),
        (Doubled, "batch of one class", "loss differs by"),
        (Shifted, "eval, no_grad", "head.weight differs by 1 from"),
        (Shifted, "checkpoint", "differs by"),
        (Shifted, "two forwards", "modified by an inplace operation"),
    ],
)
def test_a_planted_fault_is_worse(cls, situation, reason):
    found = find(LOOP_SITUATIONS[situation], enter(cls))
    assert found.fitness == "worse"
    assert reason in found.reason


@pytest.mark.usefixtures("own_registry")
def test_the_smallest_sizes_that_show_a_fault_are_named():
    found = find(LOOP_SITUATIONS["retain_graph"], enter(ManyAlone, "triplet_batch_hard"))
    assert found.reason == "ValueError: too many (from B=4, D=2, C=2 on)"


@pytest.mark.usefixtures("own_registry")
def test_a_limit_excuses_a_refusal_and_no_wrong_value():
    trainee = enter(ArcFace, limits={"export": "refused: a trial"})
    assert judge(EXPORT, trainee, "RuntimeError: no") == LoopFinding(
        "export", "limit", "refused: a trial"
    )
    assert judge(EXPORT, trainee, "AssertionError: loss differs").fitness == "worse"
    stale = find(EXPORT, trainee)
    assert stale.fitness == "worse"
    assert stale.reason.startswith("has a limit that it does not need: refused: a trial")


def test_a_failed_export_leaves_no_hook_under_which_other_modules_do_not_compile():
    hooks = torch.nn.modules.module._global_buffer_registration_hooks
    before = dict(hooks)
    assert find(EXPORT, Trainee("sphereface", "reference")).fitness == "limit"
    assert hooks == before


def test_a_limit_of_another_situation_excuses_nothing():
    fused = Trainee("arcface", "fused")
    assert fused.limit("double-backward")
    assert find(Situation("trial", "raises", refuse), fused).fitness == "worse"


def test_a_limit_holds_where_centres_move_or_where_they_do_not():
    still, moving = (t for t in trainees_of("center") if t.variant == "sparse")
    assert still.limit("optimizers")
    assert not moving.limit("optimizers")
    assert moving.limit("compile")
    assert not still.limit("compile")


def test_every_situation_names_a_known_limit():
    named = {each.limit for each in LOOP_SITUATIONS.values()} - {""}
    assert named == limits.SITUATIONS.keys() - {"arguments"}


def test_a_difference_says_how_large_it_is():
    ones = {"x": torch.ones(2, dtype=torch.float64)}
    check_same({"x": ones["x"] + 1e-9}, ones)
    with pytest.raises(AssertionError, match=r"x differs by 0\.001 from 1"):
        check_same({"x": ones["x"] + 1e-3}, ones)
    with pytest.raises(AssertionError, match="differs by nan"):
        check_same({"x": ones["x"] * torch.nan}, ones)
    with pytest.raises(AssertionError, match="expected x"):
        check_same({}, ones)


DYING = """
import os

import lossbench
from lossbench.impls.vectorized.margin import ArcFace


@lossbench.register("arcface", "mine")
class Mine(ArcFace):
    def forward(self, embeddings, labels):
        if len(labels) == 1:
            os._exit(3)
        return super().forward(embeddings, labels)
"""


def test_a_crash_costs_its_cell(tmp_path):
    mine = Trainee("arcface", "mine")
    with registry_kept(), loop_workers() as workers:
        register_from(str(write_contender(tmp_path, code=DYING)))
        crashed = workers.ask(mine, LOOP_SITUATIONS["batch of one sample"])
        after = workers.ask(mine, LOOP_SITUATIONS["batch of one class"])
        together = workers.ask(mine, LOOP_SITUATIONS["DDP"])
    assert crashed.fitness == "worse"
    assert "exit code 3" in crashed.reason
    assert after.fitness == together.fitness == "right"


@pytest.mark.slow
def test_a_compiled_variant_is_not_blamed_for_the_compiler():
    compiled = Trainee("arcface", "vectorized+compile")
    names = ("label dtypes", "DDP", "torch.func", "double backward")
    with loop_workers() as workers:
        found = [workers.ask(compiled, LOOP_SITUATIONS[name]) for name in names]
    assert [each.fitness for each in found] == ["right", "right", "limit", "limit"], found


def test_sizes_are_told_in_words():
    assert str(LoopSizes(2, 1, 3)) == "B=2, D=1, C=3"
