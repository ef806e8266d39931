"""Copy the two sides that the gate compares: two commits of lossbench, or of files from outside."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lossbench import impls
from lossbench.bench.errors import UsageError
from lossbench.bench.gate.compare import BASE, HEAD
from lossbench.bench.gate.trees import (
    WORKING_TREE,
    Tree,
    copy_files,
    copy_revision,
    read_files,
    read_files_at,
    with_outside,
)
from lossbench.impls.outside import origin_of


def copy_commits(
    folder: Path, base: str, head: str | None, files: Sequence[Path]
) -> tuple[Tree, Tree]:
    """Return copies of two commits of lossbench, each with the same files from outside.

    Raises:
        UsageError: if a commit or a file cannot be read.
    """
    old = copy_revision(BASE, folder, base)
    new = copy_revision(HEAD, folder, head) if head else copy_files(HEAD, folder)
    codes = read_files(files)
    return with_outside(old, codes), with_outside(new, codes)


def copy_outside(
    folder: Path, base: str, head: str | None, files: Sequence[Path]
) -> tuple[Tree, Tree]:
    """Return two copies of this lossbench, with the files from outside of two commits.

    Raises:
        UsageError: if a commit or a file cannot be read.
    """
    label, old = read_files_at(files, base)
    there, new = read_files_at(files, head) if head else (WORKING_TREE, read_files(files))
    trees = ((BASE, label, old), (HEAD, there, new))
    one, other = (
        with_outside(replace(copy_files(name, folder), label=words), codes)
        for name, words, codes in trees
    )
    return one, other


def chosen_outside(
    losses: tuple[str, ...], variants: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the losses and variants to compare; by default all that the files register.

    Raises:
        UsageError: if no file was named.
    """
    every = [each for loss in impls.losses() for each in impls.implementations(loss.name)]
    registered = [each for each in every if origin_of(each.loss.name, each.variant)]
    if not registered:
        raise UsageError("--outside compares the files that --with names; name one")
    known = dict.fromkeys(each.loss.name for each in registered)
    names = dict.fromkeys(each.variant for each in registered if not each.compiled)
    return losses or tuple(known), variants or tuple(names)
