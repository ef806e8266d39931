"""The templates of a report's page, with the formats of its figures and names as filters."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from lossbench.bench.case.cases import SIZE_AXES, Case
from lossbench.bench.choose.text import (
    alternative_line,
    memory_text,
    sign_of,
    step_text,
    sureness,
)
from lossbench.bench.format import binary, si, spread
from lossbench.bench.machine.environment import Environment
from lossbench.bench.marks import OF_THE_VARIANT, SHARED_COMPILE, signs
from lossbench.bench.markup import breakable, ticked
from lossbench.bench.mathml import mathml

if TYPE_CHECKING:
    from jinja2 import Environment as Templates

WORDS: dict[str, Callable[[Any], object]] = {
    "seconds": lambda value: si(value, "s"),
    "count": lambda value: si(value, ""),
    "bytes": lambda value: binary(int(value)),
    "ratio": lambda value: f"{value:.0f}" if value >= 1000 else f"{value:.3g}",
    "small": "{:.0e}".format,
    "percent": "{:.0%}".format,
    "steps": lambda value: "never" if value == math.inf else f"{value:,.0f}",
    "shade": lambda speedup: _shade(speedup),
}


def templates() -> "Templates":
    """Return the templates, with the filters that they use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    found = Environment(
        loader=PackageLoader("lossbench.bench.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {name: _or_nothing(words) for name, words in WORDS.items()}
    found.filters |= {
        "ticked": ticked,
        "breakable": breakable,
        "specification": _specification,
        "variant_sign": lambda row: signs(row, OF_THE_VARIANT),
        "mathml": lambda formula: Markup(mathml(formula)),
        "address": _address,
        "alternative_line": alternative_line,
        "memory_text": memory_text,
        "sign_of": sign_of,
        "spread": spread,
        "sureness": sureness,
        "step_text": step_text,
        "compile_sign": lambda row: signs(row, [SHARED_COMPILE]),
    }
    return found


def _or_nothing(words: Callable[[Any], object]) -> Callable[[Any], object]:
    """Return a filter that shows an empty text for a missing value."""
    return lambda value: "" if value is None else words(value)


def _address(case: Case) -> str:
    """Return the address, after the ``#``, at which the page shows the answer of a Case."""
    sizes = {name: getattr(case, name) for name in SIZE_AXES}
    kind = {"loss": case.loss, "dtype": case.precision, "device": case.device}
    return urlencode({**kind, "data": case.data, **sizes})


def _shade(speedup: float) -> int:
    """Return the strength of a cell's colour, in per cent; strongest at a factor of 8."""
    return round(15 + 45 * min(1.0, abs(math.log(max(speedup, 1e-9))) / math.log(8)))


def _specification(environment: Environment) -> dict[str, str]:
    """Return the properties of an environment to show, by name."""
    packages = (f"{name} {version}" for name, version in environment.packages.items())
    variables = (f"{name}={value}" for name, value in environment.variables.items())
    memory = f"{binary(environment.memory_bytes)}"
    processors = ", ".join(map(str, environment.affinity))
    return {
        "machine": environment.machine,
        "processor": f"{environment.cpu}, {environment.cores} cores, {memory}",
        "GPU": f"{environment.gpu}, CUDA {environment.cuda}" if environment.gpu else "none",
        "threads": f"{environment.threads} on processors {processors}",
        "torch": environment.torch,
        "packages": ", ".join(packages) or "none",
        "Python": environment.python,
        "system": environment.system,
        "commit": environment.revision,
        "variables": ", ".join(variables) or "none",
        "load at the start": f"{environment.conditions.load:g}",
        "warnings": "; ".join(environment.warnings) or "none",
    }
