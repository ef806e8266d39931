"""Every implementation of every loss in the catalogue: ``lossbench.build("arcface", ...)``.

The folders ``bench``, ``impls`` and ``reference`` are at the top level of the repository, and links
in this folder, so Python, mypy and an editor find the same package as an installed one. Modules are
imported only when they are used, so ``lossbench --help`` does not import torch.
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
    """Import and return a public name when it is first used."""
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
    """Return the version of this code: the checkout's, or else the installed package's."""
    from lossbench.bench.paths import IN_CHECKOUT, ROOT

    if not IN_CHECKOUT:
        try:
            return version("lossbench")
        except PackageNotFoundError:
            # The folders were copied, so they are neither installed nor a checkout.
            return "0+unknown"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
