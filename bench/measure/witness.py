"""Keep results of timed calls, and compare them with the oracle after the calls.

Which call is kept is decided when its clock has stopped, so no contender can know it in advance. A
result is copied at once: work that is unfinished when a call returns gives wrong numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lossbench.bench.case.calls import Calls
from lossbench.bench.case.feed import Content
from lossbench.bench.case.workload import dense
from lossbench.bench.measure.answers import Answers
from lossbench.bench.measure.deviation import relative_error
from lossbench.bench.measure.plain import addresses, numbers_of, why_not_plain

# Results that are kept to the end, to see whether later calls overwrite them.
KEPT_BYTES = 16 * 2**20
# Rounding may decide between two candidates that are about equal, such as two hardest negatives,
# and change a gradient visibly. It seldom does. So a share of the calls must be wrong, or one of
# them by more than this.
GROSS_ERROR = 0.5
FEWEST_WRONG, WRONG_SHARE = 2, 0.25


@dataclass(frozen=True)
class Kept:
    """The results of one call.

    Attributes:
        content: inputs and state of the call.
        values: copies of the results by quantity, as in an agreement.
    """

    content: Content
    values: Mapping[str, Tensor]


@dataclass
class Witness:
    """Keeps and checks results of the timed calls of one module.

    Attributes:
        calls: calls of the module.
        answers: oracle of the calls.
        overwritten: whether later calls overwrite the results by declaration, as those of a CUDA
            graph; they are compared at once all the same.
        aliased: quantities that shared memory with an input, a parameter or a buffer.
        fault: reason to refuse the module that was seen without the oracle.
    """

    calls: Calls
    answers: Answers
    overwritten: bool = False
    aliased: set[str] = field(default_factory=set)
    fault: str = ""
    _errors: list[Mapping[str, float]] = field(default_factory=list)
    _held: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]] = field(default_factory=list)
    _held_bytes: int = 0
    _names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Note which outputs the module computes, by a call that is not timed."""
        self._names = frozenset(self._results(self.calls.step()))

    def keep(self, result: Any) -> Kept | None:
        """Return copies of the results of the call that has just ended, ``None`` if it is faulty.

        Args:
            result: outputs of a forward, or outputs and gradients of a step.
        """
        content = self.calls.content
        if content is None:
            raise AssertionError("a call was timed that was not fed")
        found = self._results(result)
        device = self.calls.feed.workload.case.device
        self.blame(why_not_plain(found, device))
        if self.fault:
            return None
        tensors = {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
        # Copied first of all: what runs on in the background has no time to finish.
        values = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        if _is_forward(result):
            graph = self._backward(result)
            tensors |= graph
            values |= {name: tensor.detach().clone() for name, tensor in graph.items()}
        self._look(content, tensors)
        if not self.overwritten:
            self._hold(tensors, values)
        after = {f"after.{name}": t.detach().clone() for name, t in self.calls.state.items()}
        return Kept(content, self._complete(values) | after)

    def check(self, kept: Kept) -> None:
        """Compare kept results with the oracle."""
        exact = self.answers.exact(kept.content)
        # An oracle that is computed in tiles leaves out what the reference returns.
        compared = [name for name in kept.values if name in exact]
        self._errors.append(
            {name: relative_error(kept.values[name], exact[name]) for name in compared}
        )

    def reason(self, usual: set[str]) -> str:
        """Return the reason to refuse the module after all checks; empty if there is none.

        Args:
            usual: quantities that share memory with an input or the state in the baseline too.
        """
        found = (self.fault, "; ".join(self._departures()), self._shared(usual), self._changed())
        return next(filter(None, found), "")

    def blame(self, fault: str) -> None:
        """Note a reason to refuse the module; the first one is kept."""
        self.fault = self.fault or fault

    def _results(self, result: Any) -> dict[str, object]:
        """Return the results of a call by quantity, read past everything that a class may do."""
        out, gradients = (result, ()) if _is_forward(result) else result
        fields = type(out)._fields
        named = dict(zip(fields, tuple.__iter__(out), strict=True))
        found = {f"out.{name}": value for name, value in named.items() if value is not None}
        return found | self._gradients(gradients)

    def _backward(self, out: Any) -> dict[str, Tensor]:
        """Return the gradients of a forward that was timed alone."""
        try:
            return self._gradients(self.calls.gradients(out))
        except RuntimeError as error:
            self.blame(f"its forward has no backward: {str(error).splitlines()[0]}")
            return {}

    def _gradients(self, gradients: tuple[Tensor | None, ...]) -> dict[str, Tensor]:
        named = dict(zip(self.calls.targets, gradients, strict=False))
        return {f"grad.{name}": value for name, value in named.items() if value is not None}

    def _look(self, content: Content, tensors: Mapping[str, Tensor]) -> None:
        """Note faults that the numbers do not show."""
        inputs = self.calls.feed.leaves
        given = {name: torch.empty_like(t, requires_grad=False) for name, t in inputs.items()}
        self.calls.feed.write_inputs(content, given)
        for name, tensor in inputs.items():
            if not tensor.equal(given[name]):
                self.blame(f"it changed its input {name}")
        outputs = {name for name in tensors if name.startswith("out.")}
        missing = {name for name in self._names if name.startswith("out.")} - outputs
        if missing:
            self.blame(f"it returned no {', '.join(sorted(missing))}")
        owned = set(addresses({**inputs, **self.calls.state}).values())
        self.aliased |= {name for name, at in addresses(tensors).items() if at in owned}

    def _hold(self, tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """Hold the results themselves beside their copies, as long as there is room."""
        size = sum(numbers_of(tensor).nbytes for tensor in values.values())
        if self._held_bytes + size <= KEPT_BYTES:
            self._held_bytes += size
            held = {name: numbers_of(tensor.detach()) for name, tensor in tensors.items()}
            self._held.append((held, values))

    def _shared(self, usual: set[str]) -> str:
        shared = ", ".join(sorted(self.aliased - usual))
        return f"{shared} shares memory with an input or the state" if shared else ""

    def _changed(self) -> str:
        for held, values in self._held:
            for name, tensor in held.items():
                copy = numbers_of(values[name])
                if not torch.allclose(tensor, copy, rtol=0, atol=0, equal_nan=True):
                    return f"{name} changed after its call"
        return ""

    def _complete(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the results with dense gradients, 0 where there is none."""
        complete = {name: t for name, t in values.items() if name.startswith("out.")}
        for name, target in self.calls.targets.items():
            complete[f"grad.{name}"] = dense(values.get(f"grad.{name}"), target.detach())
        return complete

    def _departures(self) -> Iterator[str]:
        """Yield the quantities that are wrong in many calls, or grossly wrong in one."""
        for name in dict.fromkeys(name for errors in self._errors for name in errors):
            budget = self.answers.budget(name)
            errors = [found[name] for found in self._errors if name in found]
            wrong = [error for error in errors if not error <= budget]
            many = len(wrong) >= FEWEST_WRONG and len(wrong) > WRONG_SHARE * len(errors)
            if many or any(not error <= GROSS_ERROR for error in wrong):
                yield (
                    f"{name} is off by {max(wrong):.1e} in {len(wrong)} of {len(errors)} calls, "
                    f"at most {budget:.1e} passes"
                )


def _is_forward(result: Any) -> bool:
    """Return whether a result is that of a forward: a named tuple, and no pair."""
    return hasattr(type(result), "_fields")
