"""Steps that are replayed: what is captured, compared, and refused; simulated on the CPU."""

import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.feed import Feed
from lossbench.bench.case.graphs import GraphedCalls, NoGraph
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.measure.graphed import sample_graphs
from lossbench.bench.measure.judge import Times
from lossbench.bench.timing.sampling import Sampling
from tests.makers.runs import paired

CASE = Case("center_mse", batch=8, dim=4, classes=3)
SHORT = Sampling(budget_seconds=0.05)


def replaying(captured):
    """Return a simulated capture: a replay computes into the tensors of the first step."""

    def capture(step):
        captured.append(step)
        out, gradients = step()
        held = (out._replace(loss=out.loss.detach()), gradients)

        def replay():
            new, others = step()
            held[0].loss.copy_(new.loss.detach())
            for tensor, other in zip(gradients, others, strict=True):
                tensor.copy_(other)
            return held

        return replay

    return capture


def module_of(variant="reference"):
    return workload_of(CASE).module(impls.implementation(CASE.loss, variant))


def test_a_replay_computes_from_the_inputs_of_its_call_into_the_same_memory():
    captured = []
    calls = GraphedCalls(module_of(), Feed(workload_of(CASE), seed=1), replaying(captured))
    assert len(captured) == 1
    calls.prepare()
    (first, _), before = calls.step(), calls.step()[0].loss.clone()
    calls.prepare()
    again, _ = calls.step()
    assert again.loss.data_ptr() == first.loss.data_ptr()
    assert not torch.equal(again.loss, before)
    assert torch.allclose(again.loss, calls.forward().loss)


def test_replayed_steps_are_timed_and_compared():
    modules = {"reference": module_of(), "fused": module_of("fused")}
    found = sample_graphs(workload_of(CASE), modules, SHORT, replaying([]))
    assert found.refusals == {}
    assert found.timings["step"]["fused"].speedup is not None


def test_a_step_that_no_graph_holds_has_a_reason_and_the_others_times():
    def capture(step):
        if step.__self__.module is refused:
            raise NoGraph("operation not permitted when stream is capturing")
        return replaying([])(step)

    refused = module_of("fused")
    modules = {"reference": module_of(), "fused": refused}
    found = sample_graphs(workload_of(CASE), modules, SHORT, capture)
    assert set(found.timings["step"]) == {"reference"}
    assert found.refusals["fused"].endswith("not permitted when stream is capturing")


def test_a_replay_that_computes_nothing_is_refused():
    def capture(step):
        results = step()
        return lambda: results

    found = sample_graphs(workload_of(CASE), {"reference": module_of()}, SHORT, capture)
    assert " is off by " in found.refusals["reference"]


def test_processes_are_joined_if_all_have_replayed():
    whole = Times(paired(1.0), paired(1.0), graphed=paired(0.5))
    lacking = Times(paired(1.0), paired(1.0), ungraphed="it waits for the device")
    assert len(Times.joined([whole, whole]).graphed.processes) == 2
    joined = Times.joined([whole, lacking])
    assert (joined.graphed, joined.ungraphed) == (None, "it waits for the device")
