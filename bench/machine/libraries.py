"""Import a library that changes the process, so that no contender is blamed for it."""

from functools import cache

from lossbench.bench.machine.guards import GUARD


@cache
def import_sklearn() -> None:
    """Import scikit-learn, which sets environment variables, where it is used: it takes a second.

    It must not be called while a setting is changed for some time, even by the harness.
    """
    with GUARD.own_changes():
        import sklearn  # noqa: F401
