"""The sessions: ``nox`` runs the tests, ``nox -s bench`` the main job; ``nox -l`` lists all."""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")


TORCH = PROJECT["project"]["dependencies"]


def install(session: nox.Session, group: str, *more: str) -> None:
    """Install a dependency group, and more, at the versions of constraints.txt."""
    wanted = nox.project.dependency_groups(PROJECT, group)
    # Into an environment that has them this takes a second, so that a reused one is ready at once.
    session.install("-q", "-c", "constraints.txt", *wanted, *more)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite; what follows -- goes to pytest."""
    install(session, "test", *TORCH)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check format and lint."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(default=False)
def typecheck(session: nox.Session) -> None:
    """Check the types of impls, reference and bench."""
    install(session, "typecheck", *TORCH)
    session.run("mypy", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure every loss on this machine; what follows -- goes to `python -m bench run`."""
    install(session, "bench", *TORCH)
    session.run("python", "-m", "bench", "run", *session.posargs)


@nox.session(default=False)
def selftest(session: nox.Session) -> None:
    """Put the harness on trial; what follows -- goes to `python -m bench selftest`."""
    install(session, "selftest", *TORCH)
    session.run("python", "-m", "bench", "selftest", *session.posargs)
