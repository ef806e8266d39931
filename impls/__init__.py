"""The registry of losses and their implementations.

``lossbench.losses()``, ``lossbench.implementations("arcface")`` and
``lossbench.implementation("arcface", "vectorized").build(num_classes=1000, embedding_dim=512)``;
``lossbench.build("arcface", num_classes=1000, embedding_dim=512)`` builds the recommended one.
"""

import importlib
import pkgutil

from lossbench.impls.adapted import adapt
from lossbench.impls.auto import build
from lossbench.impls.choice import Choice
from lossbench.impls.loss import Loss
from lossbench.impls.outside import register_from
from lossbench.impls.registry import (
    implementation,
    implementations,
    loss,
    losses,
    register,
    register_loss,
)
from lossbench.impls.variant import REFERENCE, Implementation

__all__ = [
    "REFERENCE",
    "Choice",
    "Implementation",
    "Loss",
    "adapt",
    "build",
    "implementation",
    "implementations",
    "loss",
    "losses",
    "register",
    "register_from",
    "register_loss",
]

# The import of a module registers its contenders, so that a new contender needs only a new file.
# A package ``kernels`` registers none and needs more than torch: a contender imports it when built.
for _module in pkgutil.walk_packages(__path__, prefix=f"{Loss.__module__.rpartition('.')[0]}."):
    if ".kernels." not in _module.name:
        importlib.import_module(_module.name)
