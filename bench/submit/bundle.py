"""The bundle of a run: its plan, records and environments in one archive, with their checksums."""

import io
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import lossbench
from lossbench.bench.errors import UsageError, writing
from lossbench.bench.printable import printable
from lossbench.bench.run.plan import PLAN, RunPlan, RunPlanFile
from lossbench.bench.run.reading import parse_records, read_records
from lossbench.bench.run.records import RECORDS, Record
from lossbench.bench.submit.manifest import BUNDLE_SCHEMA, Checksum, Manifest, environments_of

MANIFEST = "bundle.json"
SUFFIX = ".bundle.zip"
MEMBERS = (MANIFEST, PLAN, RECORDS)
MOST_BYTES = 64 * 2**20
"""The most bytes of an archive, and of each of its members when it is unpacked."""
LONGEST_NAME = 80
# All archives have one time, so that equal runs give equal bundles: the oldest that zip can store.
EPOCH = (1980, 1, 1, 0, 0, 0)


class BundleRefused(UsageError):  # noqa: N818 - the bundle is refused, the command works
    """A bundle that is damaged, was changed, or is not one."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read, with checksums and schemas as they must be.

    Attributes:
        by: name of who measured.
        plan: settings of the run.
        records: Records of the run.
    """

    by: str
    plan: RunPlan
    records: tuple[Record, ...]


def write_bundle(run: Path, file: Path, by: str) -> Bundle:
    """Bundle a run, and return what the bundle holds; equal runs give equal bundles.

    Args:
        run: folder of the run.
        file: file to write.
        by: name of who measured.

    Raises:
        UsageError: if the run cannot be read or has no record, or the file cannot be written.
    """
    if not read_records(run):
        raise UsageError(f"{run}: the run has no record yet")
    try:
        plan = (run / PLAN).read_bytes()
    except OSError as error:
        raise UsageError(f"{run / PLAN}: {error.strerror}; expected the plan of a run") from error
    whole, end, _ = (run / RECORDS).read_bytes().rpartition(b"\n")
    members = {PLAN: plan, RECORDS: whole + end}
    manifest = Manifest(
        by=by,
        lossbench=lossbench.__version__,
        environments=environments_of(_records(members[RECORDS])),
        files={name: Checksum.of(content) for name, content in members.items()},
    )
    text = TypeAdapter(Manifest).dump_json(manifest, indent=1) + b"\n"
    with writing(file), zipfile.ZipFile(file, "w") as archive:
        for name, content in {MANIFEST: text, **members}.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    return read_bundle(file)


def read_bundle(file: Path) -> Bundle:
    """Return a bundle.

    Raises:
        BundleRefused: if it is damaged, was changed, holds anything else, or is too large.
        UsageError: if there is no such file.
    """
    members = _members(file)
    manifest = _manifest(members[MANIFEST])
    for name in (PLAN, RECORDS):
        expected, found = manifest.files.get(name), Checksum.of(members[name])
        if found != expected:
            told = expected.sha256 if expected else "none"
            raise BundleRefused(
                f"{name} was changed: sha256 {found.sha256[:12]}, not {printable(told[:12])}"
            )
    try:
        plan = RunPlanFile.model_validate_json(members[PLAN]).root
    except ValidationError as error:
        raise BundleRefused(f"{PLAN}: expected the plan of a run; {_first(error)}") from None
    records = _records(members[RECORDS])
    if environments_of(records) != manifest.environments:
        raise BundleRefused(f"{MANIFEST}: its environments are not those of the records")
    return Bundle(manifest.by, plan, records)


def is_bundle(path: Path) -> bool:
    """Return whether a path is named as bundles are."""
    return path.name.endswith(SUFFIX)


def _members(file: Path) -> Mapping[str, bytes]:
    """Return the bytes of the members by name; nothing is unpacked onto the disk."""
    try:
        found = file.stat()
        # A device or a pipe may have no end.
        if not stat.S_ISREG(found.st_mode):
            raise BundleRefused("it is no regular file")
        if found.st_size > MOST_BYTES:
            raise BundleRefused(f"it has more than {MOST_BYTES >> 20} MiB")
        with zipfile.ZipFile(file) as archive:
            return _read_members(archive)
    except BundleRefused:
        raise
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; expected a bundle of `submit`") from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        raise BundleRefused(f"it is no zip archive, or a damaged one: {_line(error)}") from None


def _read_members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    names = archive.namelist()
    if sorted(names) != sorted(MEMBERS):
        surplus = [name for name in names if name not in MEMBERS] or names
        shown = ", ".join(printable(repr(name), LONGEST_NAME) for name in surplus[:5])
        raise BundleRefused(f"expected the members {', '.join(MEMBERS)}, found {shown or 'none'}")
    found = {}
    for name in MEMBERS:
        # The size in the archive's index may be a lie, so no more than the limit is unpacked.
        with archive.open(name) as member:
            found[name] = member.read(MOST_BYTES + 1)
        if len(found[name]) > MOST_BYTES:
            raise BundleRefused(f"{name} has more than {MOST_BYTES >> 20} MiB when unpacked")
    return found


def _manifest(text: bytes) -> Manifest:
    try:
        manifest = TypeAdapter(Manifest).validate_json(text)
    except ValidationError as error:
        raise BundleRefused(f"{MANIFEST}: expected a manifest; {_first(error)}") from None
    if manifest.schema != BUNDLE_SCHEMA:
        raise BundleRefused(f"{MANIFEST}: schema {manifest.schema}; expected {BUNDLE_SCHEMA}")
    if manifest.by != printable(manifest.by, LONGEST_NAME):
        raise BundleRefused(
            f"{MANIFEST}: expected a printable name of at most {LONGEST_NAME} characters in `by`"
        )
    return manifest


def _records(content: bytes) -> tuple[Record, ...]:
    if content[-1:] not in (b"\n", b""):
        raise BundleRefused(f"{RECORDS}: its last line is cut off")
    try:
        return tuple(parse_records(io.BytesIO(content), RECORDS))
    except UsageError as error:
        raise BundleRefused(printable(str(error))) from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return printable(f"{place and f'{place}: '}{first['msg']}", 2 * LONGEST_NAME)


def _line(error: Exception) -> str:
    return printable(str(error), 2 * LONGEST_NAME)
