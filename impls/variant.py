"""An Implementation: one way to compute a Loss, its requirements, and how it is built."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from lossbench.impls.admission import DEVICES, FLOATING_DTYPES, SIZE_ARGUMENTS, check_state
from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.checks import check_arguments, input_check
from lossbench.impls.compiled import cannot_compile, is_compiled
from lossbench.impls.guarded import attach, has_guarded_forward
from lossbench.impls.loss import Loss
from lossbench.impls.options import check_options, split_options
from lossbench.impls.recomputation import MovedState
from lossbench.impls.torch_release import OLDEST_TORCH, release_text, running_release

REFERENCE = "reference"


@dataclass(frozen=True)
class Implementation:
    """One way to compute a Loss.

    Attributes:
        loss: the Loss that it computes.
        variant: the name of the variant: ``reference``, ``vectorized``, ...
        builder: the class or function that makes the module from the Loss's arguments.
        requires: the packages, by import name, that it needs beyond torch.
        devices: the device types that it runs on.
        dtypes: the floating dtypes that it accepts.
        departs: the reason why its values differ from the Loss's; empty if they are equal.
        mode: the mode of torch.compile for a ``+compile`` variant; empty for any other.
        since: the first torch release that it runs on.
        sparse: whether a gradient is sparse, which only a few optimizers accept.
        limits: the reasons why it is not fit for situations of a training loop, by their names in
            ``impls.limits.SITUATIONS``; every other situation it is fit for.
        leaves_out: the outputs of the Loss that it does not compute, and returns as ``None``.
        takes_options: whether its module accepts ``F.cross_entropy``'s options, as ``options``.
        problem: a function that returns why it can run nowhere on this machine, or ``None``, as for
            code that needs a compiler.
        refuses_labels: whether its forward raises an ``IndexError`` or ``RuntimeError`` for every
            label that is no class, on the CPU too. The check then does not read the labels before
            the forward; it looks for the words when the forward has raised.
        joins_batches: whether the batches of a group of processes are joined into one. A process's
            batch of a single class is then no error, and no DistributedDataParallel wraps it.
    """

    loss: Loss
    variant: str
    builder: Callable[..., nn.Module]
    requires: tuple[str, ...] = ()
    devices: tuple[str, ...] = DEVICES
    dtypes: tuple[torch.dtype, ...] = FLOATING_DTYPES
    departs: str = ""
    mode: str = ""
    since: tuple[int, int] = OLDEST_TORCH
    sparse: bool = False
    limits: Mapping[str, str] = field(default_factory=dict)
    leaves_out: tuple[str, ...] = ()
    takes_options: bool = False
    problem: Callable[[], str | None] | None = None
    refuses_labels: bool = False
    joins_batches: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the Loss's outputs that it computes, the value first."""
        return tuple(name for name in self.loss.outputs if name not in self.leaves_out)

    @property
    def compiled(self) -> bool:
        """Whether torch.compile makes its code."""
        return is_compiled(self.variant)

    @property
    def foreign(self) -> bool:
        """Whether a third party computes it, torch itself among them."""
        return ".third_party." in self.builder.__module__

    def is_for(self, device: str) -> bool:
        """Return whether it is for one process on a device type; ``unsupported`` says the rest."""
        return device in self.devices and not self.joins_batches

    def unsupported(self, device: str, dtype: torch.dtype) -> str | None:
        """Return why it cannot run here on a device type in a dtype, or ``None`` if it can."""
        for package in self.requires:
            if not _is_installed(package):
                return f"needs the package {package}, which is not installed"
        outdated = self.outdated()
        if outdated:
            return outdated
        if device not in self.devices:
            return f"runs on {', '.join(self.devices)}, not on {device}"
        if dtype not in self.dtypes:
            return f"takes {', '.join(map(str, self.dtypes))}, not {dtype}"
        if self.problem is not None and (reason := self.problem()):
            return reason
        if device == "cuda" and not torch.cuda.is_available():
            return f"torch {torch.__version__} finds no CUDA device here"
        return cannot_compile(device) if self.compiled else None

    def outdated(self) -> str | None:
        """Return why the torch that runs is too old for it, or ``None`` if it is not."""
        if running_release() >= self.since:
            return None
        return f"needs torch {release_text(self.since)} or later, this is {torch.__version__}"

    def build(self, *, validate: bool = True, **arguments: Any) -> nn.Module:
        """Return the module, in the initial state that the reference has under the same seed.

        Args:
            validate: whether to refuse inputs that the Loss does not define, which costs a few
                microseconds per call; without it the results for such inputs are undefined.
            **arguments: the Loss's arguments and, for a cross-entropy, the options of
                ``F.cross_entropy``: ``ignore_index``, ``label_smoothing``, ``class_weights`` and
                ``reduction``; those omitted have the document's values, and ignore no sample.

        Raises:
            ValueError: if an argument is unknown, missing or out of its bounds, an option is given
                to a variant that takes none, or the module's parameters and buffers are not the
                reference's.
        """
        rest, options = split_options(self.loss, arguments)
        complete = check_arguments(self.loss, rest)
        options = check_options(self.loss, options, complete.get("num_classes"))
        if options and not self.takes_options:
            raise ValueError(
                f"{self.loss.name}: {self.variant} takes no {', '.join(options)}; the variant "
                f"{REFERENCE!r} does"
            )
        # The builder may draw random numbers, so the reference is built before it.
        initial = self.loss.reference(**complete)
        if self.variant == REFERENCE:
            module = initial
        else:
            module = self.builder(**complete)
            check_state(f"{self.loss.name} {self.variant}", module, initial)
            module.load_state_dict(initial.state_dict())
        if options:
            module.options = EntropyOptions(**options)
        self._attach(module, {**complete, **options}, validate=validate)
        return module

    def _attach(self, module: nn.Module, given: Mapping[str, Any], *, validate: bool) -> None:
        """Let a module check its inputs and keep its moved state, as its arguments ask for."""
        moved, loss, limits = self.loss.moved, self.loss, dict(self.limits)
        if self.joins_batches:
            loss = replace(loss, needs_negatives=False)
            limits.pop("ddp", None)
        keeper = None
        if moved is not None and (not moved.argument or given[moved.argument]):
            keeper = MovedState(loss, moved, limits)
        by_hooks = not has_guarded_forward(module, compiled=self.compiled)
        check = None
        if validate:
            # Labels are read before state moves, and where nothing catches the forward's error.
            reads_labels = by_hooks or keeper is not None or not self.refuses_labels
            check = input_check(loss, given, reads_labels=reads_labels)
        attach(module, check, keeper, by_hooks=by_hooks)

    def verify(self) -> None:
        """Build it once at a tiny size, without advancing the global random generators.

        Raises:
            StateError: if its parameters or buffers differ from the reference's.
        """
        sizes = {name: n for name, n in SIZE_ARGUMENTS.items() if name in self.loss.arguments}
        with torch.random.fork_rng(devices=()):
            self.build(validate=False, **sizes)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        # Of a dotted name, the package around it is missing.
        return False
