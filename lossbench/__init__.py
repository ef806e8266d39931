"""Every implementation of every loss in the catalogue: ``lossbench.build("arcface", ...)``.

The rooms of the package, ``bench``, ``impls`` and ``reference``, stand at the top level of the
repository; here they are links, so that Python, mypy and an editor find the package as it is
installed. Nothing is imported before it is asked for: ``lossbench --help`` needs no torch.
"""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossbench.bench.frame import load
    from lossbench.impls import (
        Choice,
        Implementation,
        Loss,
        adapt,
        build,
        implementation,
        implementations,
        loss,
        losses,
        register,
        register_from,
        register_loss,
    )

__all__ = [
    "Choice",
    "Implementation",
    "Loss",
    "__version__",
    "adapt",
    "build",
    "implementation",
    "implementations",
    "load",
    "loss",
    "losses",
    "register",
    "register_from",
    "register_loss",
]


def __getattr__(name: str) -> Any:
    """Return a public name, imported when it is first asked for."""
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "load":
        from lossbench.bench.frame import load as found
    else:
        from lossbench import impls

        found = getattr(impls, name)
    globals()[name] = found
    return found


def _version() -> str:
    """Return the version of this code: a checkout's own, not that of an installed lossbench."""
    from lossbench.bench.paths import IN_CHECKOUT, ROOT

    if not IN_CHECKOUT:
        try:
            return version("lossbench")
        except PackageNotFoundError:
            # A bare copy of the folders, neither installed nor a checkout.
            return "0+unknown"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
