"""The request for a choice: a Case and the user's constraints, each with a test of variants."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.candidates import Candidate
from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary
from lossbench.impls.limits import SITUATIONS

Cost = TypeVar("Cost", int, float)


@dataclass(frozen=True)
class Request:
    """A Case and the user's constraints.

    Attributes:
        case: loss at one size on one device.
        max_memory: largest allowed peak of a step above inputs and parameters, in bytes.
        max_error: largest allowed relative error against the reference in float64.
        steps: number of training steps over which compile time is spread; ``None`` to ignore
            compile time.
        needs: names of outputs that the variant must compute, such as ``logits``, and of situations
            of a training loop that it must fit, such as ``ddp``.
        third_party: whether packages besides torch may be used.
        compiled: whether torch.compile may be used; it may be if ``steps`` are given.
        sparse: whether the optimizer takes sparse gradients.
        worse: whether the variant may be worse than the reference on degenerate inputs.

    Raises:
        UsageError: if a need is neither an output of the Loss nor a situation.
    """

    case: Case
    max_memory: int | None = None
    max_error: float | None = None
    steps: int | None = None
    needs: tuple[str, ...] = ()
    third_party: bool = False
    compiled: bool = False
    sparse: bool = False
    worse: bool = False

    def __post_init__(self) -> None:
        """Refuse a need that is neither an output nor a situation."""
        known = impls.loss(self.case.loss).outputs
        for name in self.needs:
            if name not in (*known, *SITUATIONS):
                raise UsageError(
                    f"{self.case.loss} has no output {name!r}; it has: {', '.join(known)}; "
                    f"the situations of training are: {', '.join(SITUATIONS)}"
                )


@dataclass(frozen=True)
class Constraint:
    """One condition on a variant.

    Attributes:
        field: name of the Request's field that sets the constraint.
        lifted: value of that field without the constraint.
        lift: option or limit that drops the constraint, in words.
        admits: function that returns whether a variant meets the constraint.
        refusal: function that returns the reason why a variant does not meet it.
        impossible: function that returns the error message if none of the variants meets it.
    """

    field: str
    lifted: Any
    lift: str
    admits: Callable[[Candidate], bool]
    refusal: Callable[[Candidate], str]
    impossible: Callable[[Sequence[Candidate]], str]


def constraints_of(request: Request) -> Iterator[Constraint]:
    """Yield the constraints of a Request."""
    loss = request.case.loss
    if not request.sparse:
        yield _sparse(loss)
    if not request.third_party:
        yield _third_party(loss)
    if not request.compiled and request.steps is None:
        yield _compiled(loss)
    if not request.worse:
        yield _degenerate(loss)
    for name in request.needs:
        yield _situation(request, name) if name in SITUATIONS else _output(request, name)
    if request.max_error is not None:
        yield _error(loss, request.max_error)
    if request.max_memory is not None:
        yield _memory(request, request.max_memory)


def admitted(
    request: Request, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], dict[str, str]]:
    """Return the variants that meet every constraint, and the reasons of the others by name.

    Raises:
        UsageError: if none does; the message names the nearest.
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
            "its gradients are sparse, which only SGD and SparseAdam take (--sparse allows them)"
        ),
        impossible=lambda _: (
            f"every remaining variant of `{loss}` has sparse gradients; --sparse allows them"
        ),
    )


def _third_party(loss: str) -> Constraint:
    def needed(candidate: Candidate) -> tuple[str, ...]:
        return impls.implementation(loss, candidate.variant).requires

    return Constraint(
        field="third_party",
        lifted=True,
        lift="with --third-party",
        admits=lambda c: not needed(c),
        refusal=lambda c: f"needs {', '.join(needed(c))} (--third-party allows it)",
        impossible=lambda _: (
            f"every remaining variant of `{loss}` needs a package besides torch; --third-party "
            "allows it"
        ),
    )


def _compiled(loss: str) -> Constraint:
    return Constraint(
        field="compiled",
        lifted=True,
        lift="with --compiled",
        admits=lambda c: not c.compiled,
        refusal=lambda _: "needs torch.compile (--compiled or --steps allow it)",
        impossible=lambda _: (
            f"every remaining variant of `{loss}` is compiled; --compiled allows it"
        ),
    )


def _degenerate(loss: str) -> Constraint:
    return Constraint(
        field="worse",
        lifted=True,
        lift="with --allow-worse",
        admits=lambda c: not c.worse,
        refusal=lambda c: (
            f"worse than the reference on {', '.join(c.worse)} (--allow-worse allows it)"
        ),
        impossible=lambda _: (
            f"every remaining variant of `{loss}` is worse than the reference on degenerate "
            "inputs; --allow-worse allows it"
        ),
    )


def _output(request: Request, name: str) -> Constraint:
    loss = request.case.loss
    return Constraint(
        field="needs",
        lifted=_without(request, name),
        lift=f"without --needs {name}",
        admits=lambda c: name in c.outputs,
        refusal=lambda _: f"does not compute {name}",
        impossible=lambda _: f"no variant of `{loss}` that was timed computes {name}",
    )


def _situation(request: Request, name: str) -> Constraint:
    loss = request.case.loss

    def unfit(candidate: Candidate) -> str:
        # The situations import what they train with.
        from lossbench.bench.training_loop.fitness import unfitness

        return unfitness(loss, candidate.variant, name)

    return Constraint(
        field="needs",
        lifted=_without(request, name),
        lift=f"without --needs {name}",
        admits=lambda c: not unfit(c),
        refusal=lambda c: f"not fit for {name}: {unfit(c)}",
        impossible=lambda left: (
            f"no variant of `{loss}` that was timed is fit for {name}; "
            f"`{left[0].variant}`: {unfit(left[0])}"
        ),
    )


def _without(request: Request, name: str) -> tuple[str, ...]:
    return tuple(other for other in request.needs if other != name)


def _error(loss: str, most: float) -> Constraint:
    return _at_most(
        "max_error",
        most,
        lambda candidate: candidate.error,
        words=lambda error: f"{error:.1e}",
        refusal="has an error of",
        nobody=f"no variant of `{loss}` has an error of {most:.1e} or less; the most exact",
    )


def _memory(request: Request, most: int) -> Constraint:
    case = request.case
    more = request.needs or request.max_error is not None
    others = " that meets the other constraints" * bool(more)
    return _at_most(
        "max_memory",
        most,
        lambda candidate: candidate.step_peak_bytes,
        words=binary,
        refusal="takes",
        nobody=f"no variant of `{case.loss}`{others} stays under {binary(most)} at batch "
        f"{case.batch}; the smallest",
    )


def _at_most(
    field: str,
    most: Cost,
    cost: Callable[[Candidate], Cost],
    words: Callable[[Cost], str],
    refusal: str,
    nobody: str,
) -> Constraint:
    """Return an upper limit on a cost; the nearest variant is appended to the text ``nobody``."""

    def impossible(left: Sequence[Candidate]) -> str:
        best = min(left, key=cost)
        return f"{nobody} is `{best.variant}` at {words(cost(best))}"

    return Constraint(
        field=field,
        lifted=None,
        lift=f"without --{field.replace('_', '-')}",
        admits=lambda candidate: cost(candidate) <= most,
        refusal=lambda candidate: f"{refusal} {words(cost(candidate))}",
        impossible=impossible,
    )
