"""Make an aarch64 Python with torch that runs on this processor, by qemu's emulation of a user.

``python -m tests.makers.aarch64 FOLDER`` takes some minutes and 7 GB; then ``FOLDER/python`` is the
interpreter. It needs Debian 12, whose packages it takes: apt-get, dpkg and qemu-user-static. The
emulated processor is a Cortex-A72, which has no dot products and no half precision of its own. The
native operators are built by this processor's cross-compiler, from Debian's g++-aarch64-linux-gnu;
without it they are left out.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

EMULATOR = "qemu-aarch64-static"
# An emulated Python starts this processor's programs too.
CROSS_COMPILER = "aarch64-linux-gnu-g++"
DEBIAN = (
    *("python3.11", "python3.11-minimal", "libpython3.11", "libpython3.11-minimal"),
    *("libpython3.11-stdlib", "libc6", "libgcc-s1", "libstdc++6", "libgomp1", "libffi8", "zlib1g"),
    *("libbz2-1.0", "liblzma5", "libssl3", "libexpat1", "libsqlite3-0", "libuuid1", "libcrypt1"),
    *("libreadline8", "libtinfo6", "libncursesw6", "libdb5.3", "libnsl2", "libtirpc3"),
    *("libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libcom-err2", "libkrb5support0"),
    "libkeyutils1",
)
# What the tests import, and the packages beneath: pip resolves them for this processor only.
PYTHON = (
    *("torch", "numpy", "sympy", "mpmath", "networkx", "jinja2", "MarkupSafe", "filelock"),
    *("fsspec", "typing_extensions", "click", "pydantic", "pydantic_core", "annotated-types"),
    *("typing-inspection", "psutil", "py-cpuinfo2", "rich", "markdown-it-py", "mdurl", "Pygments"),
    *(
        "setuptools",
        "scipy",
        "pandas",
        "python-dateutil",
        "scikit-learn",
        "joblib",
        "threadpoolctl",
        "narwhals",
    ),
    *("pytest", "pytest-benchmark", "pytest-xdist", "execnet", "iniconfig", "pluggy", "packaging"),
    *("hypothesis", "sortedcontainers"),
)
GLIBC = (28, 27, 26, 25, 24, 18, 17, 12)
# torch reads the processor's features here, and would read those of the host.
CPUINFO = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""


def make(folder: Path, constraints: Path) -> Path:
    """Return the emulated interpreter in a folder; it is made unless it is there.

    Raises:
        SystemExit: if a tool is missing.
    """
    for tool in (EMULATOR, "apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SystemExit(f"expected {tool}; install qemu-user-static on Debian 12 or Ubuntu")
    interpreter = folder / "python"
    if not interpreter.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unpack_debian(folder)
        unpack_wheels(folder, constraints)
        write_interpreter(interpreter)
    return interpreter


def unpack_debian(folder: Path) -> None:
    """Unpack Debian's aarch64 packages, without installing them."""
    root, lists, packages = folder / "root", folder / "lists", folder / "packages"
    for made in (root / "proc", lists / "partial", packages):
        made.mkdir(parents=True, exist_ok=True)
    status = folder / "status"
    status.touch()
    options = ("APT::Architecture=arm64", "APT::Architectures=arm64", f"Dir::State::Lists={lists}")
    apt = ["apt-get", "-q", *(f"-o{o}" for o in (*options, f"Dir::State::status={status}"))]
    run([*apt, "update"])
    run([*apt, "download", *DEBIAN], packages)
    for package in sorted(packages.glob("*.deb")):
        run(["dpkg", "-x", str(package), str(root)])
    (root / "proc" / "cpuinfo").write_text(CPUINFO)


def unpack_wheels(folder: Path, constraints: Path) -> None:
    """Unpack the aarch64 wheels of torch and of what the tests import."""
    wheels, site = folder / "wheels", folder / "site"
    download(PYTHON, wheels, constraints)
    (torch,) = wheels.glob("torch-*.whl")
    with ZipFile(torch) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    # The aarch64 wheel is a CUDA build, which does not load without CUDA's libraries.
    libraries = re.findall(r"^Requires-Dist: ((?:nvidia-|cuda-toolkit)[^;\n]*)", metadata, re.M)
    if libraries:
        download([library.replace(" ", "") for library in libraries], wheels, with_needs=True)
    for wheel in wheels.glob("*.whl"):
        with ZipFile(wheel) as archive:
            archive.extractall(site)


def download(
    packages: Iterable[str],
    wheels: Path,
    constraints: Path | None = None,
    *,
    with_needs: bool = False,
) -> None:
    """Download the aarch64 wheels of packages."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "-d", str(wheels)]
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in GLIBC] + ["manylinux2014_aarch64"]
    pip += [word for name in platforms for word in ("--platform", name)]
    pip += ["--python-version", "311", "--only-binary=:all:"]
    pip += ["-c", str(constraints)] if constraints else []
    pip += [] if with_needs else ["--no-deps"]
    run([*pip, *packages])


def write_interpreter(interpreter: Path) -> None:
    """Write the command that runs the emulated interpreter."""
    folder = interpreter.parent
    root, site = folder / "root", folder / "site"
    own = [root / "lib/aarch64-linux-gnu", root / "usr/lib/aarch64-linux-gnu"]
    own += [site / "torch" / "lib", site / "torch.libs", *site.glob("nvidia/**/lib")]
    # Processes that Python starts must be emulated too.
    (site / "sitecustomize.py").write_text(f"import sys\nsys.executable = {str(interpreter)!r}\n")
    interpreter.write_text(
        "#!/bin/bash\n"
        f"exec {EMULATOR} -cpu cortex-a72 -L {root} -E OMP_NUM_THREADS=1 -E CXX={CROSS_COMPILER} "
        f"-E PYTHONPATH={site}:$PYTHONPATH -E LD_LIBRARY_PATH={':'.join(map(str, own))} "
        f'{root}/usr/bin/python3.11 "$@"\n'
    )
    interpreter.chmod(0o755)


def run(command: list[str], folder: Path | None = None) -> None:
    """Run a command, with its standard output left out."""
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    print(make(Path(sys.argv[1]).resolve(), Path("constraints.txt").resolve()))
