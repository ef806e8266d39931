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
from lossbench.impls.sharded import over
from tests.impls.sharded.cases import CASES, DIM, LOSSES, WORLDS, ShardCase
from tests.impls.sharded.faults import FAULTS
from tests.impls.sharded.groups import Groups, is_in, new_group
from tests.impls.sharded.measured import take_rank_step
from tests.impls.sharded.refusals import missing, refusals
from tests.impls.sharded.sizes import bytes_of_step, largest
from tests.makers.ranks import run_ranks

PAGE = ROOT / "docs" / "sharded.md"
PROCESSES, SECONDS = max(WORLDS), 600
FAULTY_RANKS = 3


def ask_ranks() -> list[dict[str, Any]]:
    """Return what each of the processes has measured, by topic."""
    return run_ranks(PROCESSES, _answer, SECONDS)


def _answer(folder: Path) -> dict[str, Any]:
    groups = {world: new_group(world) for world in WORLDS}
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
        "largest": largest,
        "bytes": bytes_of_step,
        "refusals": refusals,
        # Last, because the group is of no use after it.
        "missing": missing,
    }
    return {topic: answer(groups, folder) for topic, answer in topics.items()}


def _steps(groups: Groups, _folder: Path) -> Any:
    return {
        (str(case), world): take_rank_step(case, group)
        for world, group in groups.items()
        for case in CASES
        if is_in(world) and world in case.worlds
    }


def _faults(groups: Groups, _folder: Path) -> Any:
    if not is_in(FAULTY_RANKS):
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
    if not is_in(2):
        return None
    found = {}
    for case in map(ShardCase, LOSSES):
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
    if is_in(2):
        with over(groups[2]):
            module = case.build("sharded")
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        module(*_own(case)).loss.backward()
        optimizer.step()
        dcp.save({"head": module.state_dict()}, checkpoint_id=path, process_group=groups[2])
        whole["saved"] = _whole(module)
    dist.barrier()
    if is_in(3):
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
    if not is_in(2):
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
    if not is_in(2):
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
    if not is_in(2):
        return None
    found = {}
    for case in map(ShardCase, LOSSES):
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
    if not is_in(2):
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
