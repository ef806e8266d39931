"""Docstrings are plain English, for readers who do not know the project."""

import ast
import re

from lossbench.bench.paths import ROOT

FILES = [
    path
    for room in ("bench", "impls", "reference", "lossbench")
    for path in sorted((ROOT / room).rglob("*.py"))
]
SECTIONS = ("Args:", "Attributes:")
# An entry that begins with one of these is no noun phrase: it leans on the name before it.
BARE = (
    "as", "at", "by", "from", "for", "how", "in", "likewise", "of", "on", "or", "that", "the same",
    "to", "under", "what", "when", "where", "whether it", "which", "who", "whose", "why", "with",
)  # fmt: skip
UNPLAIN = ("of which", "whose", "likewise", "the very", "lest", "apart from the clock", "hither")


def docstrings(path):
    """Yield (line, text) of every docstring in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def entries(text):
    """Yield the first line of every entry of a docstring's ``Args`` and ``Attributes``."""
    section = False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            section = line in SECTIONS
        elif section and (found := re.match(r"    [*\w]+(?: \(.*?\))?: (.*)", line)):
            yield found[1]


def bare(path):
    return [
        f"{path.relative_to(ROOT)}:{line}: {entry}"
        for line, text in docstrings(path)
        for entry in entries(text)
        if re.match(rf"(?:{'|'.join(BARE)})\b", entry)
    ]


def unplain(path):
    return [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for line, text in docstrings(path)
        for word in UNPLAIN
        if re.search(rf"\b{word}\b", text)
    ]


def test_no_entry_of_arguments_leans_on_the_name_before_it():
    assert [found for path in FILES for found in bare(path)] == []


def test_no_docstring_has_a_word_that_learners_stumble_over():
    assert [found for path in FILES for found in unplain(path)] == []
