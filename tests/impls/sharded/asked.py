"""All that the processes of the tests do, in one group that is started once."""

import copy
import io
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from lossbench import impls
from lossbench.bench.paths import ROOT
from lossbench.bench.ranks.traffic import TrafficCounter
from lossbench.impls.sharded import over
from tests.impls.sharded.cases import CASES, DIM, WORLDS, ShardCase
from tests.impls.sharded.faults import FAULTS
from tests.impls.sharded.measured import take_rank_step
from tests.makers.ranks import run_ranks

PAGE = ROOT / "docs" / "sharded.md"
PROCESSES, SECONDS = max(WORLDS), 600
FAULTY_RANKS = 3
Groups = dict[int, dist.ProcessGroup]


def ask_ranks() -> list[dict[str, Any]]:
    """Return what each of the processes has measured, by topic."""
    return run_ranks(PROCESSES, _answer, SECONDS)


def _answer(folder: Path) -> dict[str, Any]:
    groups = {world: _group(world) for world in WORLDS}
    topics: dict[str, Callable[[Groups, Path], Any]] = {
        "steps": _steps,
        "faults": _faults,
        "conventions": _conventions,
        "resharded": _resharded,
        "copies": _copies,
        "logits": _logits,
        "loops": _loops,
        "page": _page,
        "half": _half,
        "largest": _largest,
        "refusals": _refusals,
        # Last, because the group is of no use after it.
        "missing": _missing,
    }
    return {topic: answer(groups, folder) for topic, answer in topics.items()}


def _group(world: int) -> dist.ProcessGroup:
    """Return the group of the first processes; every process must call this."""
    return dist.new_group(list(range(world)))


def _is_in(world: int) -> bool:
    return dist.get_rank() < world


def _steps(groups: Groups, _folder: Path) -> Any:
    return {
        (str(case), world): take_rank_step(case, group)
        for world, group in groups.items()
        for case in CASES
        if _is_in(world) and world in case.worlds
    }


def _faults(groups: Groups, _folder: Path) -> Any:
    if not _is_in(FAULTY_RANKS):
        return None
    found: dict[tuple[str, str], Any] = {}
    for fault in FAULTS:
        for case in fault.tried:
            with fault.plant():
                found[fault.name, str(case)] = take_rank_step(case, groups[FAULTY_RANKS])
    return found


def _backbone() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(DIM, DIM, dtype=torch.float64)


def _conventions(groups: Groups, _folder: Path) -> Any:
    """Return the gradients of a backbone, averaged by DDP and summed by hand, for each case."""
    if not _is_in(2):
        return None
    found = {}
    for case in CASES:
        if case.title != "plain":
            continue
        x, *rest = _own(case)
        for how in ("mean", "sum"):
            with over(groups[2], row_gradient=how):
                head = case.build("sharded")
            plain = _backbone()
            net = (
                DistributedDataParallel(plain, process_group=groups[2]) if how == "mean" else plain
            )
            head(net(x), *rest).loss.backward()
            if how == "sum":
                dist.all_reduce(plain.weight.grad, group=groups[2])
            found[case.loss, how] = plain.weight.grad
    return found


def _resharded(groups: Groups, folder: Path) -> Any:
    """Return a state that 2 processes trained and saved, as 2 have it and as 3 load it."""
    case, whole = ShardCase("softmax_center"), {}
    path = str(folder / "checkpoint")
    if _is_in(2):
        with over(groups[2]):
            module = case.build("sharded")
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        module(*_own(case)).loss.backward()
        optimizer.step()
        dcp.save({"head": module.state_dict()}, checkpoint_id=path, process_group=groups[2])
        whole["saved"] = _whole(module)
    dist.barrier()
    if _is_in(3):
        with over(groups[3]):
            module = impls.implementation(case.loss, "sharded").build(**case.built_with).double()
        state = {"head": module.state_dict()}
        dcp.load(state, checkpoint_id=path, process_group=groups[3])
        module.load_state_dict(state["head"])
        whole["loaded"] = _whole(module)
    return whole


def _whole(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.full_tensor().detach() for name, p in module.named_parameters()}


def _copies(groups: Groups, _folder: Path) -> Any:
    """Return the losses of a module, of its copies, and of one that loads a dense state."""
    if not _is_in(2):
        return None
    case = ShardCase("arcface")
    own = _own(case)
    with over(groups[2]):
        module, other = case.build("sharded"), case.build("sharded")
        saved = io.BytesIO()
        torch.save(module, saved)
        saved.seek(0)
        loaded = torch.load(saved, weights_only=False)
    torch.manual_seed(11)
    dense = impls.implementation(case.loss, "reference").build(**case.built_with).double()
    other.load_state_dict(dense.state_dict())
    copied = copy.deepcopy(module)
    with torch.no_grad():
        module_loss = module(*own).loss
        module.eval()
        return {
            "losses": [module_loss, *(m(*own).loss for m in (module, copied, loaded))],
            "of dense": other(*own).loss,
            "dense": dense(*case.batch(case.sizes[:2])).loss,
        }


def _loops(groups: Groups, _folder: Path) -> Any:
    """Return the gradients of a plain, a checkpointed, and a retained backward pass."""
    if not _is_in(2):
        return None
    found = {}
    for case in map(ShardCase, ("sphereface", "triplet_weighted", "center")):
        x, labels = _own(case)
        gradients, counters = [], []
        for again, run_twice in ((False, False), (True, False), (False, True)):
            with over(groups[2]):
                module = case.build("sharded")
            rows = x.clone().requires_grad_()
            call = partial(checkpoint, module, use_reentrant=False) if again else module
            loss = call(rows, labels).loss
            loss.backward(retain_graph=run_twice)
            if run_twice:
                loss.backward()
            gradients.append(rows.grad / 2 if run_twice else rows.grad)
            counters.append(getattr(module, "iteration", None))
        found[case.loss] = gradients, counters
    return found


def _own(case: ShardCase) -> list[torch.Tensor]:
    """Return the part of a batch of two processes that this one has."""
    sizes = case.sizes[:2]
    return [each.split(sizes)[dist.get_rank()] for each in case.batch(sizes)]


def _logits(groups: Groups, _folder: Path) -> Any:
    """Return the logits of every head, and those of its reference."""
    if not _is_in(2):
        return None
    found = {}
    for case in (case for case in CASES if case.title == "plain"):
        with over(groups[2]):
            module, reference = case.build("sharded"), case.build("reference")
        if hasattr(reference, "logits"):
            rows = case.batch(case.sizes[:2])[0]
            found[case.loss] = module.logits(rows).detach(), reference.logits(rows).detach()
    return found


def _page(_groups: Groups, folder: Path) -> int:
    """Run the code of the page about several processes, and return the number of its blocks."""
    # The page makes a folder and leaves it there.
    tempfile.tempdir = str(folder)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(block, names)
    return len(blocks)


def _half(groups: Groups, _folder: Path) -> Any:
    """Return the loss and its dtype under autocast, and whether a scaler skips a step."""
    if not _is_in(2):
        return None
    case, found = ShardCase("arcface"), {}
    x, labels = _own(case)
    with over(groups[2]):
        module = case.build("sharded").float()
    rows = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = module(rows, labels.int()).loss
    (65536 * loss).backward()
    found["autocast"] = loss.detach()
    found["gradient"] = rows.grad
    scaler = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    scaler.scale(module(x.float(), labels).loss).backward()
    if dist.get_rank() == 0:
        module.weight.grad.to_local()[0, 0] = torch.inf
    before = _whole(module)["weight"]
    scaler.step(optimizer)
    found["skipped"] = torch.equal(_whole(module)["weight"], before)
    return found


def _largest(groups: Groups, _folder: Path) -> Any:
    """Return the largest number of elements at once, of 64 samples and 40,000 classes."""
    if not _is_in(2):
        return None
    with over(groups[2]):
        head = impls.implementation("softmax", "sharded")
        module = head.build(num_classes=40_000, embedding_dim=8)
        pairs = impls.implementation("triplet_weighted", "sharded").build()
    x, labels = torch.randn(32, 8, requires_grad=True), torch.arange(32)
    with TrafficCounter() as of_head:
        module(x, labels).loss.backward()
    many, classes = torch.randn(1024, 4, requires_grad=True), torch.arange(1024) % 7
    with TrafficCounter() as of_pairs:
        pairs(many, classes).loss.backward()
    return of_head.largest, of_pairs.largest


def _message(call: Callable[[], Any]) -> str:
    """Return the error that a call raises: its type and its text."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - any other error is shown by the test
        return f"{type(error).__name__}: {error}"
    return "no error"


def _refusals(groups: Groups, _folder: Path) -> Any:
    """Return what each process says of inputs that do not fit together."""
    if not _is_in(2):
        return None
    first = dist.get_rank() == 0
    with over(groups[2]):
        pairs = impls.implementation("contrastive_whole_batch", "sharded").build()
        hard = impls.implementation("triplet_batch_hard", "sharded").build()
        softmax = impls.implementation("softmax", "sharded").build(num_classes=4, embedding_dim=3)
        other = impls.implementation("softmax", "sharded").build(
            num_classes=4 if first else 5, embedding_dim=3
        )
        unchecked = impls.implementation("softmax", "sharded").build(
            num_classes=4, embedding_dim=3, validate=False
        )
    x, labels = torch.randn(2, 3), torch.tensor([0, 1])
    stray = torch.tensor([0, 1 if first else 4])
    same = torch.tensor([2, 2])
    return {
        "widths": _message(lambda: hard(torch.randn(2, 3 if first else 4), labels)),
        "dtypes": _message(lambda: hard(x if first else x.double(), labels)),
        "classes": _message(lambda: other(x, labels)),
        "stray": _message(lambda: softmax(x, stray)),
        "stray, unchecked": _message(lambda: unchecked(x, stray)),
        "one class": _message(lambda: hard(x, same)),
        "one class in a rank": _message(lambda: hard(x, same if first else labels)),
        "double backward": _message(lambda: _penalty(softmax, labels)),
        "of pairs": _message(lambda: _penalty(pairs, x, labels)),
        "well": _message(lambda: softmax(x, labels)),
    }


def _penalty(module: nn.Module, *others: torch.Tensor) -> None:
    x = torch.randn(2, 3, requires_grad=True)
    loss = module(x, *others).loss
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    grad.square().sum().backward()


def _missing(_groups: Groups, _folder: Path) -> Any:
    """Return what a process says if the other one does not call the loss."""
    group = _group(2)
    dist.barrier()
    message = ""
    if dist.get_rank() == 0:
        with over(group, wait_seconds=0.5):
            module = impls.implementation("softmax", "sharded").build(
                num_classes=4, embedding_dim=3
            )
        message = _message(lambda: module(torch.randn(2, 3), torch.tensor([0, 1])))
    dist.barrier()
    return message
