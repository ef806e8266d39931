"""The model of links and collectives, and what a user may ask of several ranks."""

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.sources import kind_of
from lossbench.bench.cli import main
from lossbench.bench.cli.ranks import RankCounts
from lossbench.bench.errors import UsageError
from lossbench.bench.frame.runs import record_row
from lossbench.bench.machine.quotas import allowed_processors
from lossbench.bench.machine.rank_workers import RankWorkers
from lossbench.bench.machine.replies import Lost
from lossbench.bench.measure.judge import Judgement
from lossbench.bench.measure.memory import Memory
from lossbench.bench.ranks.judge import joined_judgement
from lossbench.bench.ranks.model import (
    Link,
    RankPrediction,
    TimedCollective,
    communication_seconds,
    fit_links,
    given_links,
    sent_by,
)
from lossbench.bench.ranks.traffic import Collective, Traffic
from lossbench.bench.run.plan import choose_tasks
from lossbench.bench.run.records import RecordLine
from tests.makers.records import record


@pytest.mark.parametrize(
    ("kind", "messages", "total_bytes"),
    [("all-gather", 3, 3000), ("reduce-scatter", 3, 750), ("all-reduce", 6, 1500)],
)
def test_a_ring_of_4_ranks_sends_what_the_formulas_say(kind, messages, total_bytes):
    assert sent_by(Collective(kind, 1000), 4) == (messages, total_bytes)


def test_a_tree_of_1024_ranks_has_10_messages_in_a_row():
    ring, tree = (sent_by(Collective("all-reduce", 8), 1024, shape) for shape in ("ring", "tree"))
    assert (ring.messages, tree.messages) == (2 * 1023, 2 * 10)
    assert ring.total_bytes == tree.total_bytes


def test_planted_links_are_found_again():
    links = {"all-gather": Link(3e-5, 2e9), "all-reduce": Link(8e-5, 5e8)}
    asked = [Collective(kind, 4**n) for kind in links for n in range(4, 12)]
    timed = [TimedCollective(each, links[each.kind].seconds(sent_by(each, 2))) for each in asked]
    found = fit_links(timed, 2)
    for kind, link in links.items():
        assert found[kind].latency_seconds == pytest.approx(link.latency_seconds, rel=1e-6)
        assert found[kind].bytes_per_second == pytest.approx(link.bytes_per_second, rel=1e-6)


def test_a_predicted_step_is_what_it_computes_and_its_collectives():
    traffic = Traffic((Collective("all-gather", 10**6), Collective("all-reduce", 10**6)))
    seconds = communication_seconds(traffic, 2, given_links(1e-3, 1e9))
    assert seconds == pytest.approx(3e-3 + 2e-3)
    step = RankPrediction("sharded", 2, 5e-3, seconds, traffic, 100, 20)
    assert (step.step_seconds, step.share, step.rank_bytes) == (pytest.approx(1e-2), 0.5, 120)


def test_records_of_several_ranks_are_other_cells_than_those_of_one_process():
    alone = Case("softmax", 64, 8, 4)
    ((case, variants),) = choose_tasks(
        None, ("softmax",), (), "cpu", {"dim": (8,), "classes": (4,)}, False, 2
    )
    assert case == Case("softmax", 64, 8, 4, ranks=2) != alone
    assert str(case) == "64x8, C=4, cpu, gaussian, 2 ranks"
    assert {"reference", "fused", "sharded"} <= set(variants)
    assert kind_of(case) != kind_of(alone)
    traffic = Traffic((Collective("all-gather", 32), Collective("all-reduce", 8)))
    made = record(case=case, traffic=traffic)
    row = record_row(made)
    assert (row["ranks"], row["collectives"], row["given_bytes"]) == (2, 2, 40)
    assert RecordLine.model_validate_json(RecordLine(made).model_dump_json()).root == made


def test_the_judgement_of_all_ranks_is_that_of_the_worst_with_the_most_memory():
    good, bad = Judgement("passed", memory=Memory(1, 2, 3, 4)), Judgement("refused", "wrong")
    more = Judgement("passed", memory=Memory(9, 2, 3, 4))
    assert joined_judgement([good, bad]) == bad
    assert joined_judgement([good, more]).memory == more.memory


class StubWorker:
    """A worker without a process; one that fails, or one that waits until it is closed."""

    def __init__(self, failure):
        self.failure, self.closed = failure, False

    def ask(self, _timeout, _question, *args):
        if not args:
            return None
        if self.failure:
            raise self.failure
        return "answer"

    def close(self):
        self.closed = True


@pytest.mark.parametrize("status", ["timeout", "crashed"])
def test_a_rank_that_fails_is_named_and_all_are_ended(status):
    stubs = [StubWorker(None), StubWorker(Lost(status, "no answer within 5 s"))]
    workers = RankWorkers(2, iter(stubs).__next__)
    with pytest.raises(Lost, match="rank 1 of 2: no answer within 5 s") as lost:
        workers.ask(5, print)
    assert lost.value.status == status
    assert all(stub.closed for stub in stubs)


MANY = 4 * len(allowed_processors()) + 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--ranks", "1"], "1 is not in the range x>=2"),
        (["run", "--ranks", str(MANY)], "at most"),
        (["run", "--ranks", "2", "--loss", "pairwise_distance"], "has no sharded variant"),
        (["run", "--ranks", "2", "--loss", "softmax", "--batch", "6"], "multiple of 2"),
        (["run", "--ranks", "2", "--on", "local:2"], "--ranks cannot be combined with --on"),
        (["run", "--ranks", "2", "--compiled"], "cannot be combined with --compiled"),
        (["ranks", "pairwise_distance"], "has no sharded variant"),
        (["ranks", "softmax", "--latency", "5"], "give both, or none"),
        (["ranks", "softmax", "--ranks", "8..x"], "such as 8..1024 or 2,3,4, got '8..x'"),
        (["ranks", "softmax", "--check", str(MANY)], "at most"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(arguments, message, capsys):
    assert main(arguments) == 2
    out, errors = capsys.readouterr()
    assert message in " ".join(errors.split())
    assert errors.startswith("error: ")
    assert out == ""


def test_numbers_of_ranks_go_on_by_factors_of_2():
    convert = RankCounts().convert
    assert convert("8..64,3", None, None) == (8, 16, 32, 64, 3)


def test_each_rank_must_have_some_samples():
    with pytest.raises(UsageError, match="4 samples a rank or more, got batch 4"):
        Case("softmax", 4, 8, 4, ranks=2).checked()
