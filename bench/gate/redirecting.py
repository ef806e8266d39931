"""Rewrite import statements, so that they import a package under another name.

The code of lossbench imports itself by its absolute name, and a process can have only one package
of a name. A copy of the tree can be imported beside the original if its imports use a new name.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Renames = Mapping[str, str]
"""The new dotted name of each top-level package."""


def redirect_folder(folder: Path, renames: Renames) -> None:
    """Change the imports of every module below a folder, in place."""
    for path in folder.rglob("*.py"):
        path.write_bytes(redirect_imports(path.read_bytes(), renames))


def redirect_imports(source: bytes, renames: Renames) -> bytes:
    """Return a module's source with the imports of renamed packages rewritten.

    Line numbers do not change. Source that is not valid Python is returned unchanged, and raises
    when it is imported.

    Args:
        source: source of the module.
        renames: new dotted name of each top-level package.
    """
    try:
        statements = list(_imports(ast.parse(source), renames))
    except SyntaxError:
        return source
    lines = source.splitlines(keepends=True)
    for node in sorted(statements, key=lambda s: (s.lineno, s.col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        statement = ast.unparse(_redirected(node, renames)).encode()
        lines[first : last + 1] = [before + statement + after, *[b"\n"] * (last - first)]
    return b"".join(lines)


def _imports(tree: ast.Module, renames: Renames) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the statements, at the top or within functions, that import a renamed package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level == 0 and _top(node.module or "") in renames:
                yield node
        elif isinstance(node, ast.Import) and any(_top(a.name) in renames for a in node.names):
            yield node


def _top(module: str) -> str:
    return module.partition(".")[0]


def _renamed(module: str, renames: Renames) -> str:
    top, dot, below = module.partition(".")
    return f"{renames[top]}{dot}{below}"


def _redirected(node: ast.Import | ast.ImportFrom, renames: Renames) -> ast.stmt:
    if isinstance(node, ast.ImportFrom):
        return ast.ImportFrom(_renamed(node.module or "", renames), node.names, 0)
    names = []
    for alias in node.names:
        top = _top(alias.name)
        if top not in renames:
            names.append(alias)
            continue
        nested = "." in alias.name
        if nested:
            names.append(ast.alias(_renamed(alias.name, renames), alias.asname))
        if not (nested and alias.asname):
            # A plain import binds the top-level name.
            names.append(ast.alias(renames[top], alias.asname or top))
    return ast.Import(names)
