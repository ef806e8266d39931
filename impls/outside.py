"""Contenders from outside: register the implementations of files, modules and packages.

``lossbench.register_from("my_losses.py")`` imports a file, or a module by its dotted name, that
registers implementations with ``@lossbench.register``. Installed packages declare their modules as
entry points of ``GROUPS``. Only the harness imports these; ``lossbench.build`` never does, because
production code imports only what it names.
"""

import hashlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from importlib.util import module_from_spec
from pathlib import Path

from lossbench.impls.registry import all_or_nothing, implementations, losses

# Losses come first, because an implementation may compute a loss of another package.
GROUPS = ("lossbench.losses", "lossbench.implementations")


@dataclass(frozen=True)
class Origin:
    """The source of contenders from outside. Two origins are equal if their code is the same.

    Attributes:
        source: the absolute path of the file, or the dotted name of the module.
        sha256: the hash of the source code; empty for a module without a source file.
        distribution: the name and version of the installed distribution that has the module.
    """

    source: str = field(compare=False)
    sha256: str
    distribution: str = ""

    @property
    def is_file(self) -> bool:
        """Whether the source is a file, and not a module that Python finds by its name."""
        return os.path.isabs(self.source)

    def __str__(self) -> str:
        """Return the origin in one line, with a short form of the hash."""
        parts = [self.source, self.distribution, self.sha256 and f"sha256 {self.sha256[:12]}"]
        return ", ".join(filter(None, parts))


_loaded = dict[str, Origin]()
_origins = dict[tuple[str, str], Origin]()
# The modules that these imported in turn, such as the submodules of a package.
_imported_along = set[str]()


def register_from(source: str | os.PathLike[str]) -> Origin:
    """Import a file, or a module by its dotted name, that registers implementations.

    A file is imported only once, under a unique module name, so that two files of one name do not
    clash. It may import modules in its folder; a module may be in the current folder. Output during
    the import goes to the standard error.

    Args:
        source: the path of a file, or the dotted name of a module.

    Returns:
        the origin of the implementations.

    Raises:
        ValueError: if the source does not exist, raises during the import, or registers nothing.
    """
    text = os.fspath(source)
    path = Path(text).expanduser()
    # A missing file must not be searched for as a module, so the name decides first.
    if path.suffix == ".py" or path.name != text or _is_file(path):
        return _register_file(path)
    if not all(text.split(".")):
        raise ValueError(f"{_line(text) or 'an empty name'}: no such file or module")
    # `python -m` also finds modules in the current folder; the command `lossbench` does not.
    _look_also_in(Path())
    return _register_module(text)


def register_installed() -> list[str]:
    """Import the modules that installed packages declare in ``GROUPS``.

    Returns:
        one line for each entry point that cannot be used; it has registered nothing.
    """
    problems = []
    for group in GROUPS:
        for point in sorted(entry_points(group=group), key=lambda point: point.name):
            try:
                _register_module(_module_of(point))
            except ValueError as error:
                problems.append(f"the entry point {_line(point.name)} of {group}: {error}")
    return problems


def register_again(origins: Iterable[Origin]) -> None:
    """Import sources again, in another process or another run.

    Raises:
        ValueError: if a source cannot be imported, or its code has changed since.
    """
    for origin in origins:
        found = _loaded.get(origin.source) or register_from(origin.source)
        if found != origin:
            raise ValueError(f"{_line(origin.source)} has changed: expected {origin}; got {found}")


def loaded() -> tuple[Origin, ...]:
    """Return the origins of all imports from outside, in order."""
    return tuple(_loaded.values())


def origin_of(loss: str, variant: str) -> Origin | None:
    """Return the origin of an implementation; ``None`` if it is lossbench's own or unknown."""
    return _origins.get((loss, variant))


def _register_file(path: Path) -> Origin:
    try:
        path = path.resolve(strict=True)
        code = path.read_bytes()
    except IsADirectoryError:
        raise ValueError(
            f"{_line(str(path))}: expected a Python file or a module, got a folder"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            f"{_line(str(path))}: {reason}; expected a Python file or a module"
        ) from None
    origin = Origin(str(path), hashlib.sha256(code).hexdigest())
    if _loaded.get(origin.source, origin) != origin:
        raise ValueError(f"{_line(str(path))} has changed since it was imported; start Python anew")

    def load() -> Origin:
        _import_file(path, code)
        return origin

    return _enter(origin.source, load)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A name that is too long for a file is that of none.
        return False


def _register_module(name: str) -> Origin:
    def load() -> Origin:
        file = Path(import_module(name).__file__ or "")
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        return Origin(name, digest, _distribution_of(name))

    return _enter(name, load)


def _enter(source: str, load: Callable[[], Origin]) -> Origin:
    """Import a source unless it was imported before, and remember what it registers."""
    if source in _loaded:
        return _loaded[source]
    before, modules = _registered(), set(sys.modules)
    with all_or_nothing():
        try:
            with redirect_stdout(sys.stderr):
                origin = load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ValueError(f"{_line(source)}: {_told(error, source)}") from error
        new = _registered() - before
        if not new and source not in _imported_along:
            raise ValueError(
                f"{_line(source)} registers nothing; expected a class or function under "
                "@lossbench.register(loss, variant)"
            )
    _imported_along.update(set(sys.modules) - modules)
    _loaded[source] = origin
    _origins.update(dict.fromkeys(new, origin))
    return origin


def _import_file(path: Path, code: bytes) -> None:
    """Import a file from the bytes that were hashed."""
    _look_also_in(path.parent)
    # The module's name is the same in every process, so that pickled objects can be loaded.
    place = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    name = f"outside_{re.sub(r'[^A-Za-z0-9]', '_', path.stem)}_{place}"
    loader = SourceFileLoader(name, str(path))
    spec = ModuleSpec(name, loader, origin=str(path))
    spec.has_location = True
    module = sys.modules[name] = module_from_spec(spec)
    try:
        exec(loader.source_to_code(code, str(path)), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise


def _look_also_in(folder: Path) -> None:
    """Find modules in a folder too, last, so that none there hides an installed module."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _registered() -> set[tuple[str, str]]:
    return {(loss.name, each.variant) for loss in losses() for each in implementations(loss.name)}


def _distribution_of(module: str) -> str:
    """Return the name and version of a module's distribution; empty without one."""
    for group in GROUPS:
        for point in entry_points(group=group):
            if _module_of(point) == module and point.dist is not None:
                return f"{point.dist.name} {point.dist.version}"
    names = packages_distributions().get(module.partition(".")[0], [])
    return f"{names[0]} {version(names[0])}" if names else ""


def _module_of(point: EntryPoint) -> str:
    """Return the module of an entry point; ``EntryPoint.module`` raises for a malformed value."""
    return re.split(r"[:\[]", point.value)[0].strip()


def _told(error: BaseException, source: str) -> str:
    """Return an error as one line of text, with the line of the file that raised it."""
    if isinstance(error, ModuleNotFoundError) and f"{source}.".startswith(f"{error.name}."):
        return "no such file or module"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == source]
    # str() of an error may raise; this gives a text for such an error too.
    text = str(traceback.TracebackException.from_exception(error))
    if isinstance(error, SyntaxError) and error.filename == source:
        lines, text = [error.lineno], error.msg
    where = f"line {lines[-1]}: " if lines else ""
    return _line(f"{where}{type(error).__name__}{text and ': '}{text}")


def _line(text: str) -> str:
    """Return text as one line, with escapes for characters that cannot be printed."""
    flat = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in flat)
