"""The kinds of values of the options: registered names, folders, ranges, bytes."""

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any

import click
import psutil
from click.shell_completion import CompletionItem
from pydantic import ByteSize, TypeAdapter, ValidationError

from lossbench import impls
from lossbench.bench.errors import unknown_name
from lossbench.bench.machine.quotas import allowed_processors
from lossbench.bench.sweep.engines import ENGINES, is_engine

Folder = click.Path(path_type=Path, file_okay=False)


class RegisteredName(click.ParamType[str]):
    """A name in the registry, which is read late because ``--with`` adds names to it."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names to choose from."""

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the name.

        Raises:
            click.BadParameter: if it is unknown; the message lists the known names and the nearest.
        """
        known = self.names()
        if value not in known:
            self.fail(unknown_name(self.name, value, known), param, ctx)
        return str(value)

    def get_missing_message(
        self,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002
    ) -> str:
        """Return the message for a missing name, which lists the known names."""
        return f"There are: {', '.join(self.names())}"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that begin with the typed text."""
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


class LossName(RegisteredName):
    """The name of a Loss."""

    name = "loss"

    def names(self) -> list[str]:
        """Return the names of all losses, in the catalogue's order."""
        return [loss.name for loss in impls.losses()]


class VariantName(RegisteredName):
    """The name of a variant that at least one Loss has."""

    name = "variant"

    def names(self) -> list[str]:
        """Return the names of all variants, sorted."""
        losses = (loss.name for loss in impls.losses())
        return sorted({each.variant for loss in losses for each in impls.implementations(loss)})


class Name(click.ParamType[str]):
    """A name to store in records, in UTF-8."""

    name = "text"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the name.

        Raises:
            click.BadParameter: if its bytes are not UTF-8.
        """
        try:
            str(value).encode()
        except UnicodeEncodeError:
            self.fail(f"expected a name in UTF-8, got {value!a}", param, ctx)
        return str(value)


class FiniteRange(click.FloatRange):
    """A number in a range. click's own takes nan for a number in every range, and inf."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number.

        Raises:
            click.BadParameter: where it is none, not finite, or out of the range.
        """
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {value}", param, ctx)
        return number


class Processors(click.ParamType[tuple[int, ...]]):
    """A list of processors in the notation of taskset: ``0,2-3``."""

    name = "processors"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the numbers of the processors, sorted, without duplicates.

        Raises:
            click.BadParameter: if it is no such list, or this process may not use one of them.
        """
        if isinstance(value, tuple):
            return value
        if not hasattr(psutil.Process, "cpu_affinity"):
            self.fail("this system binds no process to processors; omit the option", param, ctx)
        allowed = set(allowed_processors())
        try:
            ends = [part.split("-") for part in value.split(",")]
            chosen = {n for end in ends for n in range(int(end[0]), int(end[-1]) + 1)}
        except ValueError:
            self.fail(f"expected numbers and ranges as in 0,2-3, got {value!r}", param, ctx)
        if not chosen or not chosen <= allowed:
            there = ", ".join(map(str, sorted(allowed)))
            self.fail(f"expected some of the processors {there}, got {value!r}", param, ctx)
        return tuple(sorted(chosen))


class EngineName(click.ParamType[str]):
    """The name of an engine that hands cases to workers."""

    name = "engine"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the name.

        Raises:
            click.BadParameter: if it is that of no engine; the message lists the choices.
        """
        if value and not is_engine(value):
            self.fail(f"expected {ENGINES}, got {value!r}", param, ctx)
        return str(value)


class Bytes(click.ParamType[int]):
    """A number of bytes with a unit."""

    name = "bytes"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number of bytes.

        Raises:
            click.BadParameter: if it is not a number of bytes above 0.
        """
        try:
            count = int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            count = 0
        if count < 1:
            self.fail(f"expected bytes such as 512MiB or 2GiB, got {value!r}", param, ctx)
        return count
