"""A room (a top-level folder) imports only from the rooms above it."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("reference", "impls", "bench")
# The rooms that each room may import from; in ``impls`` only the catalogue imports references.
MAY_IMPORT = {
    "reference": {"reference"},
    "impls": {"impls"},
    "bench": {"bench", "impls"},
}
CATALOGUE = ROOT / "impls" / "catalogue"
PACKAGES = {p for p in (ROOT / "impls").iterdir() if (p / "__init__.py").exists()}
# Imported where one of their modules is built, and by nothing at import.
KERNELS = ROOT / "impls" / "triton" / "kernels"
CHECKS = ROOT / "impls" / "checks"
CONTENDERS = tuple(sorted(p.name for p in PACKAGES - {CATALOGUE, CHECKS}))
SHARED_WITH_CONTENDERS = {
    f"lossbench.impls.{name}"
    for name in (
        "catalogue",
        "class_rows",
        "differentiable",
        "families",
        "formulas",
        "labels",
        "moving",
        "precision",
        "products",
        "recomputation",
        "registry",
        "scores",
        "state",
        "torch_release",
        "tracing",
    )
}


def imports(path):
    """Yield (module, whether at the top level) of every import in a file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            at_top = node in tree.body
            if node.module == "lossbench":
                yield from ((f"lossbench.{alias.name}", at_top) for alias in node.names)
            else:
                yield node.module, at_top


def files(room):
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_above(room):
    for path in files(room):
        allowed = MAY_IMPORT[room] | ({"reference"} if path.parent == CATALOGUE else set())
        for module, _ in imports(path):
            top = module.split(".")[0]
            assert top not in (*ROOMS, "tests"), f"{path.relative_to(ROOT)} imports {module}"
            if module.startswith("lossbench."):
                assert module.split(".")[1] in allowed, f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("package", CONTENDERS)
def test_a_contender_imports_no_other_contender(package):
    registering = {
        "lossbench." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files(f"impls/{package}")
        if re.search(r"^@register\w*\(", path.read_text(), re.MULTILINE)
    }
    assert registering
    own = f"lossbench.impls.{package}."
    for path in files(f"impls/{package}"):
        for module, _ in imports(path):
            if module.startswith("lossbench.impls."):
                here = module.startswith(own) and module not in registering
                assert here or module in SHARED_WITH_CONTENDERS, f"{path.name} imports {module}"


@pytest.mark.parametrize("room", ["impls", "reference"])
def test_what_is_shipped_needs_torch_alone(room):
    for path in files(room):
        shipped = {"torch", "lossbench"} | ({"triton"} if path.parent == KERNELS else set())
        for module, at_top in imports(path):
            top = module.split(".")[0]
            known = top in sys.stdlib_module_names | shipped
            assert known or not at_top, f"{path.relative_to(ROOT)} imports {module} at its top"
