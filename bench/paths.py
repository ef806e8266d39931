"""The folders: where the package stands, where records are found and kept."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
"""The folder that holds the rooms: the root of a checkout, or the installed package."""

IN_CHECKOUT = (PACKAGE / "asv.conf.json").is_file()
"""Whether this is a checkout, which has a history, tests and documentation beside the rooms."""

ROOT = PACKAGE
"""The root of the checkout, for what needs one."""

SHIPPED_RESULTS = PACKAGE / "results"
"""The records that come with lossbench."""

RESULTS = SHIPPED_RESULTS if IN_CHECKOUT else Path("results")
"""The folder for what is measured here: of the checkout, or of the current folder."""

RUNS = RESULTS / "runs"
"""The folder of new runs."""

SELFTESTS = RESULTS / "selftest"
"""The folder of the figures of `selftest`, `gate-proof` and `choose-check`."""
