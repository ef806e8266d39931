"""Graphs: whole models compiled and exported, functional calls, second derivatives."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad

from lossbench.bench.machine.guards import GUARD
from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import Trainee, check_same, gradients_of

# Which code the graphs become, compiled variants and their tests try; here the graphs are tried.
BACKEND = "aot_eager"


def _compiled(trainee: Trainee) -> None:
    # The compiler replaces functions of nn.Module when it first compiles one.
    with GUARD.own_changes():
        _check_compiled(trainee)


def _check_compiled(trainee: Trainee) -> None:
    torch.compiler.reset()
    eager, other = trainee.net(), trainee.net()
    call = torch.compile(other, fullgraph=True, backend=BACKEND)

    def compare(batch: int) -> None:
        inputs = trainee.draw(batch=batch)
        for net, run in ((eager, eager), (other, call)):
            net.zero_grad()
            run(*inputs).backward()
        check_same(gradients_of(other), gradients_of(eager))

    whole = trainee.sizes.batch
    compare(whole)
    compare(max(2, whole - 5))
    # The second size has made the batch's size a variable.
    with torch.compiler.set_stance("fail_on_recompile"):
        compare(max(2, whole - 3))


def _exported(trainee: Trainee) -> None:
    given, few = (trainee.draw(batch=batch) for batch in (trainee.sizes.batch, 3))
    module = trainee.head().to(trainee.dtype)
    # Two matrices of rows may differ in their number; any other inputs have one batch.
    names = ("M", "N") if trainee.loss.inputs == "rows" else ("B",) * len(given)
    # A second to import, and `choose` reads the situations.
    from torch.export import Dim

    sizes = tuple({0: Dim(name, min=1)} for name in names)
    file = io.BytesIO()
    # It prints the whole graph where it fails.
    with redirect_stderr(io.StringIO()), _no_hooks_left():
        torch.export.save(torch.export.export(module, given, dynamic_shapes=sizes), file)
    file.seek(0)
    exported = torch.export.load(file).module()
    for inputs in (given, few):
        fresh = trainee.head().to(trainee.dtype)
        exported.load_state_dict(fresh.state_dict())
        check_same({"loss": exported(*inputs)[0]}, {"loss": fresh(*inputs)[0]})


@contextmanager
def _no_hooks_left() -> Iterator[None]:
    """Remove the hook that a failed export leaves: under it no module that sets a buffer compiles.

    torch removes it itself from 2.13 on.
    """
    hooks = torch.nn.modules.module._global_buffer_registration_hooks
    before = set(hooks)
    try:
        yield
    finally:
        for left in set(hooks) - before:
            del hooks[left]


def _functional(trainee: Trainee) -> None:
    """Compare the gradient that torch.func takes with that of a backward pass."""
    net, inputs = trainee.net(), trainee.draw()
    parameters = {name: p.detach().clone() for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]

    def loss(named: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Tensor:
        return functional_call(net, {**named, **others}, inputs)  # type: ignore[no-any-return]

    given = grad(loss)(parameters, buffers)
    other = trainee.net()
    other(*inputs).backward()
    named = {f"grad.{name}": g.to_dense() for name, g in given.items() if name not in frozen}
    check_same(named, gradients_of(other))


def _second_gradients(trainee: Trainee, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the gradients of a gradient penalty."""
    net = trainee.net().to(dtype)
    first, *others = trainee.draw(dtype=dtype)
    first.requires_grad_()
    (slope,) = torch.autograd.grad(net(first, *others), first, create_graph=True)
    slope.square().sum().backward()  # type: ignore[no-untyped-call]
    return {name: g for name, g in gradients_of(net).items() if g.count_nonzero()}


def _penalized(trainee: Trainee) -> None:
    given = _second_gradients(trainee, trainee.dtype)
    if not trainee.implementation.departs:
        check_same(given, _second_gradients(trainee.standard, trainee.dtype))


def _forward_mode(trainee: Trainee) -> None:
    """Compare the derivative along a direction with the gradient's product with it."""
    first, *others = trainee.draw()
    along, *_ = trainee.draw(1)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(first, along)  # type: ignore[no-untyped-call]
        loss = trainee.net()(dual, *others)
        found = forward_ad.unpack_dual(loss).tangent  # type: ignore[no-untyped-call]
    first.requires_grad_()
    (gradient,) = torch.autograd.grad(trainee.net()(first, *others), first)
    # A missing derivative is one of 0.
    given = torch.zeros_like(loss) if found is None else found
    check_same({"slope": given}, {"slope": (gradient * along).sum()})


GRAPHS = (
    Situation(
        "compile, fullgraph",
        "model and loss as one graph, then shorter batches; the third needs no new graph",
        _compiled,
        limit="compile",
    ),
    Situation(
        "export",
        "exported for any batch, saved and loaded, the loss has the module's value",
        _exported,
        limit="export",
    ),
    Situation(
        "torch.func", "functional_call under grad, as backward()", _functional, limit="functional"
    ),
    Situation(
        "double backward",
        "a gradient penalty has the reference's gradients",
        _penalized,
        limit="double-backward",
    ),
    Situation(
        "forward mode",
        "the derivative along a direction is the gradient's product with it",
        _forward_mode,
        limit="forward-mode",
    ),
)
