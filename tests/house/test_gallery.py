"""The gallery of the documentation is whole."""

import re
import runpy

from lossbench.bench.dashboard.screenshot import SCREENS
from lossbench.bench.paths import ROOT

GALLERY = runpy.run_path(str(ROOT / "docs" / "gallery.py"))
PAGE = (ROOT / "docs" / "gallery.md").read_text()


def test_the_gallery_shows_every_command_that_it_names():
    shown = re.findall(r"^\$ lossbench (.+)$", PAGE, re.MULTILINE)
    assert shown == [line.replace("{scratch}/", "results/runs/") for line in GALLERY["COMMANDS"]]
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)[len(shown) :] == list(GALLERY["PICTURES"])


def test_every_picture_of_the_gallery_is_there():
    pictures = re.findall(r"\]\((images/.+?)\)", PAGE)
    assert {f"images/report-{screen}.png" for screen in SCREENS} <= set(pictures)
    assert all((ROOT / "docs" / name).is_file() for name in pictures)
