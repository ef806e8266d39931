"""Write the board to a folder, completely or not at all."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from lossbench.bench.board.pages import INDEX, render_site
from lossbench.bench.board.rows import Standings
from lossbench.bench.errors import UsageError, writing

MARK = '<meta name="generator" content="lossbench board">'
PAGES = "*.html"


def write_board(standings: Standings, folder: Path) -> Path:
    """Write the site of a board, and return the path of its index; an older board is replaced.

    Raises:
        UsageError: if the folder holds pages of something else, or cannot be written.
    """
    files = render_site(standings)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        old = _old_pages(folder)
        with TemporaryDirectory(dir=folder, prefix=".half-") as name:
            half = Path(name)
            for file, text in files.items():
                (half / file).write_text(text, encoding="utf-8")
            # The index is last, so that it names no page that is not there yet.
            for file in sorted(files, key=lambda file: file == INDEX):
                os.replace(half / file, folder / file)
        for page in old - {folder / file for file in files}:
            page.unlink()
    return folder / INDEX


def _old_pages(folder: Path) -> set[Path]:
    """Return the pages of an older board in a folder.

    Raises:
        UsageError: if there is a page that no board wrote.
    """
    pages = set(folder.glob(PAGES))
    for page in sorted(pages):
        if MARK not in page.read_text(errors="replace")[:2000]:
            raise UsageError(f"{page} was not written by a board; choose another --out")
    return pages
