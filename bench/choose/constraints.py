"""The reader's constraints: what each admits, and what is said where it admits nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import impls
from bench.choose.candidates import Candidate
from bench.choose.request import Request
from bench.errors import UsageError
from bench.table import binary


@dataclass(frozen=True)
class Constraint:
    """One condition on a variant.

    Attributes:
        field: the Request's, that holds it.
        lifted: that field's value without it.
        lift: the same in words.
        admits: whether a variant meets it.
        refusal: why one does not.
        impossible: what is said of those that are left, where none meets it.
    """

    field: str
    lifted: Any
    lift: str
    admits: Callable[[Candidate], bool]
    refusal: Callable[[Candidate], str]
    impossible: Callable[[Sequence[Candidate]], str]


def constraints_of(request: Request) -> Iterator[Constraint]:
    """Yield the conditions that a Request makes."""
    loss = request.case.loss
    if not request.sparse:
        yield _sparse(loss)
    if not request.third_party:
        yield _third_party(loss)
    for name in request.needs:
        yield _need(request, name)
    if request.max_error is not None:
        yield _error(loss, request.max_error)
    if request.max_memory is not None:
        yield _memory(request, request.max_memory)


def admitted(
    request: Request, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], dict[str, str]]:
    """Return the variants that meet every constraint, and why each other does not.

    Raises:
        UsageError: where none does; the message names the nearest.
    """
    left, refused = list(candidates), dict[str, str]()
    for constraint in constraints_of(request):
        meeting = [candidate for candidate in left if constraint.admits(candidate)]
        if left and not meeting:
            raise UsageError(constraint.impossible(left))
        refused |= {c.variant: constraint.refusal(c) for c in left if c not in meeting}
        left = meeting
    return left, refused


def _sparse(loss: str) -> Constraint:
    return Constraint(
        field="sparse",
        lifted=True,
        lift="with --sparse",
        admits=lambda c: not impls.implementation(loss, c.variant).sparse,
        refusal=lambda _: (
            "its gradients are sparse, which SGD and SparseAdam alone take (--sparse)"
        ),
        impossible=lambda _: (
            f"every variant of `{loss}` that is left has sparse gradients: --sparse"
        ),
    )


def _third_party(loss: str) -> Constraint:
    def needed(candidate: Candidate) -> tuple[str, ...]:
        return impls.implementation(loss, candidate.variant).requires

    return Constraint(
        field="third_party",
        lifted=True,
        lift="without --no-third-party",
        admits=lambda c: not needed(c),
        refusal=lambda c: f"needs {', '.join(needed(c))}",
        impossible=lambda _: f"no variant of `{loss}` that was timed does without third parties",
    )


def _need(request: Request, name: str) -> Constraint:
    loss = request.case.loss
    return Constraint(
        field="needs",
        lifted=tuple(other for other in request.needs if other != name),
        lift=f"without --needs {name}",
        admits=lambda c: name in c.outputs,
        refusal=lambda _: f"does not compute {name}",
        impossible=lambda _: f"no variant of `{loss}` that was timed computes {name}",
    )


def _error(loss: str, most: float) -> Constraint:
    def impossible(left: Sequence[Candidate]) -> str:
        best = min(left, key=lambda c: c.error)
        return (
            f"no variant of `{loss}` errs by {most:.1e} or less; "
            f"the most exact is `{best.variant}` at {best.error:.1e}"
        )

    return Constraint(
        field="max_error",
        lifted=None,
        lift="without --max-error",
        admits=lambda c: c.error <= most,
        refusal=lambda c: f"errs by {c.error:.1e}",
        impossible=impossible,
    )


def _memory(request: Request, most: int) -> Constraint:
    case = request.case

    def impossible(left: Sequence[Candidate]) -> str:
        best = min(left, key=lambda c: c.peak_bytes)
        others = " of those that meet the rest" if _has_more(request) else ""
        return (
            f"no variant of `{case.loss}`{others} stays under {binary(most)} at batch "
            f"{case.batch}; the smallest is `{best.variant}` at {binary(best.peak_bytes)}"
        )

    return Constraint(
        field="max_memory",
        lifted=None,
        lift="without --max-memory",
        admits=lambda c: c.peak_bytes <= most,
        refusal=lambda c: f"takes {binary(c.peak_bytes)}",
        impossible=impossible,
    )


def _has_more(request: Request) -> bool:
    return bool(request.needs or request.max_error is not None or not request.third_party)
