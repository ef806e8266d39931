"""One step of a sharded loss in each process, against the dense reference in one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lossbench.bench.ranks.traffic import TrafficCounter
from lossbench.impls.sharded import over
from tests.impls.sharded.cases import CENTERS, HEADS, PAIRS, TRIPLETS, ShardCase

# The large inputs lose three digits.
LARGEST_ERROR = {torch.float64: 1e-10, torch.float32: 1e-5}


@dataclass(frozen=True)
class RankStep:
    """What a process has after one step.

    Attributes:
        loss: the loss, 0-d, or those of the process's samples.
        correct: the number of correct anchors; ``None`` for other losses.
        row_gradients: the gradients of its inputs.
        shard_gradients: the gradients of its shards, by the parameters' names.
        calls: the number of calls of each collective.
        given_bytes: the bytes that it gave to each collective.
        kept_inputs: whether the inputs are as before.
    """

    loss: Tensor
    correct: Tensor | None
    row_gradients: tuple[Tensor, ...]
    shard_gradients: dict[str, Tensor]
    calls: dict[str, int]
    given_bytes: dict[str, int]
    kept_inputs: bool


def _upstream(case: ShardCase, loss: Tensor, start: int) -> Tensor:
    """Return the upstream gradient, another for each sample if the loss has one for each."""
    if loss.dim() == 0:
        return torch.full_like(loss, case.factor)
    return case.factor * (1 + torch.arange(start, start + len(loss)).to(loss))


def _leaves(inputs: Sequence[Tensor]) -> list[Tensor]:
    copies = [each.clone() for each in inputs]
    return [each.requires_grad_(each.is_floating_point()) for each in copies]


def take_rank_step(case: ShardCase, group: dist.ProcessGroup) -> RankStep:
    """Take a step in this process, with the other processes of a group."""
    world, rank = dist.get_world_size(group), dist.get_rank(group)
    with over(group):
        module = case.build(case.variant).to(case.dtype)
    for sizes in (case.first, case.sizes) if case.first else (case.sizes,):
        own = [each.split(sizes[:world])[rank] for each in case.batch(sizes[:world])]
        own = [each.to(case.dtype) if each.is_floating_point() else each for each in own]
        leaves = _leaves(own)
        module.zero_grad()
        with TrafficCounter() as counter:
            out = module(*leaves)
            start = sum(sizes[:rank])
            out.loss.backward(_upstream(case, out.loss, start))
    calls, given = Counter(), Counter()
    for each in counter.traffic.collectives:
        calls[each.kind] += 1
        given[each.kind] += each.given_bytes
    trained = {n: p.grad for n, p in module.named_parameters() if p.requires_grad}
    gradients = {name: grad.to_local() for name, grad in trained.items()}
    return RankStep(
        out.loss.detach(),
        getattr(out, "correct", None),
        tuple(leaf.grad for leaf in leaves if leaf.requires_grad),
        gradients,
        dict(calls),
        dict(given),
        all(map(torch.equal, own, leaves)),
    )


def errors(case: ShardCase, steps: Sequence[RankStep]) -> dict[str, float]:
    """Return the relative errors of a step against the reference on the joined batch, by name."""
    reference = case.build("reference")
    sizes = case.sizes[: len(steps)]
    if case.first:
        reference(*case.batch(case.first[: len(steps)]))
    leaves = _leaves(case.batch(sizes))
    out = reference(*leaves)
    out.loss.backward(_upstream(case, out.loss, 0))
    rows = [leaf.grad for leaf in leaves if leaf.requires_grad]
    found = {"correct": 0.0}
    if out.loss.dim() == 0:
        found |= {f"loss of rank {n}": _error(s.loss, out.loss) for n, s in enumerate(steps)}
    else:
        found["losses"] = _error(torch.cat([step.loss for step in steps]), out.loss)
    for number, parts in enumerate(zip(*(step.row_gradients for step in steps), strict=True)):
        found[f"gradient of input {number}"] = _error(torch.cat(parts), rows[number])
    for name, parameter in reference.named_parameters():
        if not parameter.requires_grad:
            continue
        shards = [step.shard_gradients[name] for step in steps]
        joined = torch.cat(shards, 1 if name == "weight" else 0)
        found[f"gradient of {name}"] = _error(joined, parameter.grad)
    if hasattr(out, "correct"):
        found["correct"] = float(any(step.correct != out.correct for step in steps))
    return found


def complaints(case: ShardCase, steps: Sequence[RankStep]) -> list[str]:
    """Return what is wrong with a step, in words; nothing if all is right."""
    wrong = [
        f"{name}: error {error:.1e}"
        for name, error in errors(case, steps).items()
        if not error <= LARGEST_ERROR[case.dtype]
    ]
    if steps[0].loss.dim() == 0 and any(not _same(s.loss, steps[0].loss) for s in steps):
        wrong.append("the processes differ in the loss")
    if not all(step.kept_inputs for step in steps):
        wrong.append("an input was changed")
    calls, given = expected_traffic(case, len(steps))
    for rank, step in enumerate(steps):
        if (step.calls, step.given_bytes) != (calls, given):
            wrong.append(f"rank {rank}: {step.calls}, {step.given_bytes}; not {calls}, {given}")
    return wrong


def expected_traffic(case: ShardCase, world: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return the calls of a step, and the bytes that each process gives, by the formula.

    With ``b`` the largest batch, ``B`` all samples, ``D`` features and ``e`` bytes a number:
    all-gather of 4 facts and, but for pairs, ``b`` rows and ``b`` labels; reduce-scatter of ``N b``
    rows; all-reduce of ``B`` maxima and of 2 (with label smoothing 3) sums a sample for a head, and
    of the few numbers of any other loss. Facts, labels and the triplets' numbers have 8 bytes.
    """
    e = case.dtype.itemsize
    sizes = case.sizes[:world]
    longest, samples, dim = max(sizes), sum(sizes), case.batch(sizes)[0].size(1)
    gathered, reduced, scattered = [4 * 8], [], []
    if case.loss not in PAIRS:
        gathered += [longest * dim * e, longest * 8]
        scattered = [world * longest * dim * e]
    if case.loss in (*HEADS, "softmax_center", "softmax_center_unsquared"):
        sums = 3 if "label_smoothing" in case.arguments else 2
        reduced += [samples * e, samples * sums * e]
    if case.arguments.get("reduction") == "none":
        gathered.append(longest * e)
    if case.loss in CENTERS:
        reduced.append((dim + 1 if case.loss == "island" else 1) * e)
    if case.loss in PAIRS:
        reduced.append((2 if case.loss == "contrastive_whole_batch" else 1) * e)
    if case.loss in TRIPLETS:
        reduced.append(2 * 8)
    every = {"all-gather": gathered, "all-reduce": reduced, "reduce-scatter": scattered}
    calls = {name: len(given) for name, given in every.items() if given}
    return calls, {name: sum(given) for name, given in every.items() if given}


def _error(value: Tensor, expected: Any) -> float:
    """Return ``‖v - e‖ / ‖e‖``, 0 where both are NaN or both are 0."""
    if value.shape != expected.shape or not torch.equal(value.isnan(), expected.isnan()):
        return float("inf")
    difference = (value - expected).detach().nan_to_num().norm()
    size = torch.as_tensor(expected).detach().nan_to_num().norm()
    return float(difference / size.clamp(min=1e-30)) if difference else 0.0


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(), b.nan_to_num())
