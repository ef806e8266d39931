"""Every implementation of every loss in the catalogue, behind one registry.

``impls.losses()``, ``impls.implementations("arcface")`` and
``impls.implementation("arcface", "vectorized").build(num_classes=1000, embedding_dim=512)``.
"""

import importlib
import pkgutil

from impls.loss import Loss
from impls.registry import (
    Implementation,
    implementation,
    implementations,
    loss,
    losses,
    register,
)

__all__ = [
    "Implementation",
    "Loss",
    "implementation",
    "implementations",
    "loss",
    "losses",
    "register",
]

# A contender enters itself when its module is imported, so that a new one is a new file alone.
for _module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
    importlib.import_module(_module.name)
