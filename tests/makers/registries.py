"""A registry that a test may enter losses and implementations into."""

import pytest

from lossbench.impls import registry


@pytest.fixture
def own_registry(monkeypatch):
    """Leave the registry as it was, whatever a test enters."""
    copies = {name: dict(variants) for name, variants in registry._implementations.items()}
    monkeypatch.setattr(registry, "_implementations", copies)
    monkeypatch.setattr(registry, "_losses", dict(registry._losses))
