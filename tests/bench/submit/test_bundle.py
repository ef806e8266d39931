"""A bundle is read back as it was written, and anything else is refused in one line."""

import json

import pytest

from lossbench.bench.cli import main
from lossbench.bench.run.reading import read_records
from lossbench.bench.submit import bundle as bundles
from lossbench.bench.submit.bundle import BundleRefused, read_bundle, write_bundle
from tests.makers.submissions import bundle_of, members_of, pack, possible_run, with_checksums


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_of(tmp_path_factory.mktemp("bundle"))


def test_a_bundle_holds_the_run_and_who_measured(tmp_path):
    run = possible_run(tmp_path / "run")
    written = write_bundle(run, tmp_path / "a.bundle.zip", "Ada")
    write_bundle(run, tmp_path / "b.bundle.zip", "Ada")
    assert written == read_bundle(tmp_path / "b.bundle.zip")
    assert written.by == "Ada"
    assert list(written.records) == read_records(run)
    assert (tmp_path / "a.bundle.zip").read_bytes() == (tmp_path / "b.bundle.zip").read_bytes()


def test_a_last_line_that_a_killed_run_left_is_not_bundled(tmp_path):
    run = possible_run(tmp_path / "run")
    whole = read_records(run)
    with (run / "records.jsonl").open("a") as file:
        file.write('{"case"')
    assert list(write_bundle(run, tmp_path / "a.bundle.zip", "").records) == whole


def without(name):
    return lambda members: [(n, c) for n, c in members.items() if n != name]


def beside(name):
    return lambda members: [*members.items(), (name, b"x")]


def changed(name, change, *, forged=True):
    """Change a member; a forger also writes the right checksum into the manifest."""

    def apply(members):
        members = {**members, name: change(members[name])}
        return (with_checksums(members) if forged else members).items()

    return apply


def manifest(**fields):
    return changed("bundle.json", lambda m: json.dumps({**json.loads(m), **fields}).encode())


RECORDS, PLAN = "records.jsonl", "plan.json"
CHANGES = {
    "a record": (
        changed(RECORDS, lambda c: c.replace(b"fused", b"ultra"), forged=False),
        "records.jsonl was changed: sha256 ",
    ),
    "the plan": (changed(PLAN, lambda c: c + b" ", forged=False), "plan.json was changed"),
    "a path upwards": (beside("../../evil.py"), "found '../../evil.py'"),
    "an absolute path": (beside("/etc/cron.d/evil"), "found '/etc/cron.d/evil'"),
    "another file": (beside("run.sh"), "expected the members bundle.json, plan.json, records"),
    "a member twice": (lambda m: [*m.items(), (PLAN, m[PLAN])], "expected the members"),
    "no plan": (without(PLAN), "expected the members"),
    "malformed records": (changed(RECORDS, lambda _: b"{\n"), "line 1: damaged"),
    "deep records": (changed(RECORDS, lambda _: b"[" * 100_000 + b"\n"), "line 1: damaged"),
    "a line cut off": (changed(RECORDS, lambda c: c[:-1]), "its last line is cut off"),
    "another schema": (
        changed(RECORDS, lambda c: c.replace(b'"schema":2', b'"schema":9')),
        "line 1: schema 9",
    ),
    "no samples": (
        changed(RECORDS, lambda c: c.replace(b'"seconds":[', b'"seconds":[-1.0,')),
        "line 1: ",
    ),
    "malformed plan": (changed(PLAN, lambda _: b"[]"), "plan.json: expected the plan of a run"),
    "deep manifest": (lambda m: {**m, "bundle.json": b"[" * 100_000}.items(), "expected a manif"),
    "another manifest": (manifest(schema=7), "schema 7; expected 1"),
    "another key": (manifest(evil=1), "evil"),
    "a name of many lines": (manifest(by="a\nb"), "expected a printable name"),
    "other environments": (manifest(environments=[]), "its environments are not those"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_refused_in_a_line(name, bundle, tmp_path, capsys):
    change, reason = CHANGES[name]
    file = pack(tmp_path / "x.bundle.zip", change(members_of(bundle)))
    assert main(["verify", str(file), "--no-measure"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("refused: ")
    assert reason in line
    assert [path.name for path in tmp_path.iterdir()] == ["x.bundle.zip"]


@pytest.mark.parametrize("size", [0, 10, 500, -5])
def test_a_file_that_is_no_whole_archive_is_refused(size, bundle, tmp_path):
    file = tmp_path / "x.bundle.zip"
    file.write_bytes(bundle.read_bytes()[:size])
    with pytest.raises(BundleRefused, match="no zip archive, or a damaged one"):
        read_bundle(file)


@pytest.mark.parametrize("limit", [1000, 4000])
def test_a_large_archive_and_a_small_one_that_unpacks_to_much_are_refused(
    limit, bundle, tmp_path, monkeypatch
):
    file = pack(tmp_path / "x.bundle.zip", {**members_of(bundle), RECORDS: b" " * 10_000}.items())
    assert 1000 < file.stat().st_size < 4000
    monkeypatch.setattr(bundles, "MOST_BYTES", limit)
    with pytest.raises(BundleRefused, match="more than 0 MiB"):
        read_bundle(file)


def test_a_link_to_a_device_is_refused(tmp_path):
    link = tmp_path / "x.bundle.zip"
    link.symlink_to("/dev/zero")
    with pytest.raises(BundleRefused, match="no regular file"):
        read_bundle(link)


def test_a_missing_file_is_an_error_and_no_verdict(refused):
    assert "expected a bundle of `submit`" in refused("verify", "/nowhere.bundle.zip")


def test_submit_writes_a_bundle_and_says_what_it_holds(tmp_path, capsys):
    run, file = possible_run(tmp_path / "run"), tmp_path / "mine.bundle.zip"
    assert main(["submit", str(run), "--out", str(file), "--by", "Ada"]) == 0
    assert read_bundle(file).by == "Ada"
    assert "6 records of 1 loss, by Ada, 2026-01-02" in capsys.readouterr().out


def test_submit_names_the_machine_where_nobody_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    possible_run(tmp_path / "run")
    assert main(["submit", "run"]) == 0
    assert read_bundle(tmp_path / "run.bundle.zip").by == "here"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere"], "expected the records of a run"),
        (["RUN", "--out", "mine.zip"], "expected a file named *.bundle.zip"),
        (["RUN", "--by", "a" * 90], "at most 80 characters"),
        (["RUN", "--out", "/proc/x.bundle.zip"], "expected a folder to write to"),
    ],
)
def test_what_cannot_be_submitted_is_told(arguments, message, tmp_path, refused):
    run = possible_run(tmp_path / "run")
    assert message in refused("submit", *(str(run) if a == "RUN" else a for a in arguments))
