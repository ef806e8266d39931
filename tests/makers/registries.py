"""A registry to which a test may add losses and implementations."""

import pytest

from lossbench.impls import registry


@pytest.fixture
def own_registry(monkeypatch):
    """Restore the registry after a test that adds to it."""
    copies = {name: dict(variants) for name, variants in registry._implementations.items()}
    monkeypatch.setattr(registry, "_implementations", copies)
    monkeypatch.setattr(registry, "_losses", dict(registry._losses))
