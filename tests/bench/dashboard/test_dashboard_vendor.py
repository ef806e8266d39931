"""The dashboard's pages load files of npm packages, and only this machine can load the pages."""

import json
import os
import re

import pytest

from lossbench.bench.dashboard import open_server
from lossbench.bench.dashboard.vendor import _FILES, _PACKAGES, localised, vendor
from lossbench.bench.errors import UsageError


def test_the_error_of_npm_is_reported(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error no route to the registry' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "index.html").write_text("<html></html>")
    with pytest.raises(UsageError, match=r"JavaScript: no route to the registry$"):
        vendor(tmp_path)


def test_a_file_that_no_package_has_is_refused():
    with pytest.raises(UsageError, match=r"https://cdn\.example/new\.js, which is not among"):
        localised('<script src="https://cdn.example/new.js"></script>')


def test_what_a_page_loads_is_local_and_its_links_stay():
    link = '<a href="https://github.com/airspeed-velocity/asv/">asv</a>'
    tag = '<script src="https://cdn.example/x/md5.min.js" integrity="sha512-x" onerror="f()">'
    page, files = localised(link + tag)
    assert page == link + '<script src="vendor/blueimp-md5/js/md5.min.js" onerror="f()">'
    assert files == ["blueimp-md5/js/md5.min.js"]


def test_the_locked_versions_are_those_of_the_page():
    packages = json.loads((_PACKAGES / "package.json").read_text())["dependencies"]
    assert set(packages) == {name.split("/")[0] for name in _FILES.values()}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in packages.values())


def test_the_server_listens_on_this_machine_only(tmp_path):
    with open_server(tmp_path, 0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        taken = server.server_port
        with pytest.raises(UsageError, match=f"port {taken} of 127.0.0.1 cannot be opened"):
            open_server(tmp_path, taken)
