"""The cost of compiling is measured in fresh processes, whichever variant is compiled first."""

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.run.compiling import measure_compile_costs

CASE = Case("center_mse", batch=12, dim=8, classes=5)


class Asked:
    """A worker that notes its folder, what it is asked, and that it is closed."""

    def __init__(self, folder, answers):
        self.folder, self.answers, self.asked, self.closed = folder, answers, [], False

    def ask(self, _timeout, question, *arguments):
        self.asked.append((question.__name__, *arguments))
        assert not any(self.folder.glob("[!.]*")) or question.__name__ == "measure_warm_compilation"
        (self.folder / "code").touch()
        answer = self.answers[question.__name__]
        if isinstance(answer, Lost):
            raise answer
        return answer

    def close(self):
        self.closed = True


def workers(**answers):
    """Return a function that starts noting workers, and the list of those that were started."""
    started = []

    def start(folder):
        started.append(Asked(folder, answers))
        return started[-1]

    return start, started


def test_each_variant_has_an_empty_cache_and_each_question_a_new_process():
    start, started = workers(measure_compilation="cold", measure_warm_compilation="warm")
    for variant in ("vectorized+compile", "vectorized+compile[max-autotune]"):
        found = measure_compile_costs(start, 60, CASE, variant)
        assert found == {"compilation": "cold", "warm_compilation": "warm"}
    first, second, third, fourth = started
    assert first.folder == second.folder != third.folder == fourth.folder
    assert all(worker.closed and not worker.folder.exists() for worker in started)
    assert third.asked == [("measure_compilation", CASE, "vectorized+compile[max-autotune]")]


def test_a_lost_process_leaves_nothing_behind():
    start, started = workers(measure_compilation=Lost("timeout", "no answer within 60 s"))
    with pytest.raises(Lost, match="no answer"):
        measure_compile_costs(start, 60, CASE, "vectorized+compile")
    assert [(worker.closed, worker.folder.exists()) for worker in started] == [(True, False)]


def test_the_first_compilation_is_cold_and_the_second_finds_its_code(monkeypatch, tmp_path):
    # A folder of the user's own would make the first compilation a warm one.
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    found = measure_compile_costs(
        lambda folder: Worker(1, compiled=folder), 300, CASE, "vectorized+compile"
    )
    cold, warm = found["compilation"], found["warm_compilation"]
    assert (cold.cached, warm.cached) == (False, True)
    assert cold.fresh
    assert warm.fresh
    assert 0 < cold.start_seconds < cold.compile_seconds
    assert 0 < warm.start_seconds < warm.compile_seconds < cold.compile_seconds
    assert list(tmp_path.iterdir()) == []
