"""New inputs and parameters for every call that is measured, so that nothing can be remembered.

A feed prepares several batches of a Case's own kind of data. Every call gets one of them, with its
rows in an order that never came before and scaled by a random factor. Parameters and buffers get
numbers between two initial states. Everything is written in place into tensors that stay the same.

Writing large parameters would take far longer than some steps. Of these only a part changes from
call to call: the classes of some of the labels, and a slice at a random place.
"""

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.data import DIFFERENTIABLE, make_inputs
from lossbench.bench.case.workload import Workload
from lossbench.impls.registry import REFERENCE

MOST_BATCHES = 8
BATCHES_BYTES = 64 * 2**20
# A parameter up to this size is written whole before every call.
WHOLE_BYTES = 2**20
# Of a larger one, a slice of about this size, and the classes of this many labels.
SLICE_BYTES = 2**18
FED_LABELS = 64
# Inputs are scaled by up to this share, up or down.
SCALING = 0.05


@dataclass(frozen=True)
class Content:
    """The inputs and the state of one call, as choices from which they can be made again.

    Attributes:
        batch: number of the prepared batch.
        rows: order of its rows, ``[B]``.
        scale: factor of its differentiable inputs.
        blend: position between the two initial states, from 0 to 1.
        place: position of the slice of a large parameter, from 0 to 1.
        source: position of the slice, and distance of the classes, that give the new numbers.
        labels: labels of the classes that change in a large parameter; ``None`` without labels.
    """

    batch: int
    rows: Tensor
    scale: float
    blend: float
    place: float
    source: float
    labels: Tensor | None


class Feed:
    """The inputs that all modules of a Case share, and the source of new numbers for each call.

    Attributes:
        workload: workload of the Case.
        leaves: leaf tensors; the modules share them, so that none profits from a better place of
            its inputs in memory. Before the first call they are the first draw.
    """

    def __init__(self, workload: Workload, seed: int | None = None) -> None:
        """Prepare nothing yet: batches are made for the first call that is fed.

        Args:
            workload: workload of the Case.
            seed: seed of all choices; by default one that no contender can know.
        """
        self.workload = workload
        self.leaves = workload.leaves()
        self._random = random.Random(secrets.randbits(64) if seed is None else seed)
        self._orders = self._make_orders(len(next(iter(self.leaves.values()))))
        self._rows = self._orders[0]

    def _make_orders(self, rows: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(self._random.randrange(2**63))
        orders = (torch.randperm(rows, generator=generator) for _ in range(MOST_BATCHES))
        return tuple(order.to(self.workload.case.device) for order in orders)

    @cached_property
    def _batches(self) -> list[Mapping[str, Tensor]]:
        case = self.workload.case
        size = sum(tensor.nbytes for tensor in self.leaves.values())
        count = max(2, min(MOST_BATCHES, BATCHES_BYTES // size))
        seeds = (self._random.randrange(2**31) for _ in range(count))
        return [make_inputs(replace(case, seed=seed)) for seed in seeds]

    @cached_property
    def _other(self) -> Mapping[str, Tensor]:
        """Another initial state of the tensors that are written whole."""
        case = self.workload.case
        with torch.random.fork_rng(devices=()):
            # Unlike torch.manual_seed, this leaves the generators of other devices alone.
            torch.default_generator.manual_seed(self._random.randrange(2**63))
            module = impls.implementation(case.loss, REFERENCE).build(**case.arguments)
        module.to(device=case.device, dtype=case.held_dtype)
        return {name: t for name, t in module.state_dict().items() if _is_whole(t)}

    def draw(self) -> Content:
        """Return the choices of another call."""
        choose = self._random
        number = choose.randrange(len(self._batches))
        # One order after another, applied to the order so far, repeats none in practice.
        rows = self._rows = self._rows[choose.choice(self._orders)]
        labels = self._batches[number].get("labels")
        return Content(
            batch=number,
            rows=rows,
            scale=1 + SCALING * choose.uniform(-1, 1),
            blend=choose.random(),
            place=choose.random(),
            source=choose.random(),
            labels=None if labels is None else labels[rows[:FED_LABELS]].long(),
        )

    @torch.no_grad()
    def write_inputs(self, content: Content, inputs: Mapping[str, Tensor]) -> None:
        """Write the inputs of a call in place."""
        for name, tensor in inputs.items():
            source = self._batches[content.batch][name]
            torch.index_select(source, 0, content.rows, out=tensor)
            if name in DIFFERENTIABLE:
                tensor.mul_(content.scale)

    @torch.no_grad()
    def write_state(
        self,
        content: Content,
        state: Mapping[str, Tensor],
        former: Content | None = None,
        moved: frozenset[str] = frozenset(),
    ) -> None:
        """Write the parameters and buffers of a call in place.

        Args:
            content: choices of the call.
            state: tensors of a module's state, by name.
            former: choices of the call before, which are undone; ``None`` in the initial state.
            moved: names of the tensors that a call changes, which are restored whole.
        """
        for name, tensor in state.items():
            initial = self.workload.state[name]
            if name in self._other:
                torch.lerp(initial, self._other[name], content.blend, out=tensor)
            elif not tensor.is_floating_point():
                tensor.copy_(initial)
            else:
                if name in moved:
                    tensor.copy_(initial)
                elif former is not None:
                    self._write_part(former, tensor, initial, restore=True)
                self._write_part(content, tensor, initial, restore=False)

    def _write_part(
        self, content: Content, tensor: Tensor, initial: Tensor, *, restore: bool
    ) -> None:
        """Replace a slice and some classes by others of the initial state, or restore them."""
        rows = max(1, min(len(initial) - 1, SLICE_BYTES * len(initial) // initial.nbytes))
        to, start = (int(x * (len(initial) - rows)) for x in (content.place, content.source))
        given = initial[to : to + rows] if restore else initial[start : start + rows]
        tensor[to : to + rows].copy_(given)
        classes = self.workload.case.classes
        if content.labels is None or classes not in initial.shape:
            return
        axis, shift = initial.shape.index(classes), 1 + int(content.source * (classes - 1))
        others = content.labels if restore else (content.labels + shift) % classes
        tensor.index_copy_(axis, content.labels, initial.index_select(axis, others))

    def workload_of(self, content: Content) -> Workload:
        """Return the workload of one call, which has one draw."""
        workload = self.workload
        inputs = {name: torch.empty_like(leaf) for name, leaf in workload.inputs[0].items()}
        state = {name: tensor.clone() for name, tensor in workload.state.items()}
        self.write_inputs(content, inputs)
        self.write_state(content, state)
        return replace(workload, inputs=(inputs,), state=state, cotangents=workload.cotangents[:1])


def _is_whole(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.nbytes <= WHOLE_BYTES
