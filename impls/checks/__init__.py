"""Checks of a Loss's arguments and inputs, with errors that say what was expected.

The checks of inputs read shapes and dtypes. They read values only where that needs no
synchronisation: on the CPU, in code that is not being traced. A label out of range raises a device
assertion on CUDA, and an assertion within the traced code if it is compiled or exported.
"""

from collections.abc import Mapping
from typing import Any

from lossbench.impls.checks.arguments import check_arguments
from lossbench.impls.checks.base import InputCheck
from lossbench.impls.checks.labelled import LabelledCheck
from lossbench.impls.checks.unlabelled import ArraysCheck, PairsCheck, RowsCheck
from lossbench.impls.loss import Inputs, Loss

__all__ = ["InputCheck", "check_arguments", "input_check"]

_CHECKS: Mapping[Inputs, type[InputCheck]] = {
    "labelled": LabelledCheck,
    "pairs": PairsCheck,
    "rows": RowsCheck,
    "arrays": ArraysCheck,
}


def input_check(loss: Loss, arguments: Mapping[str, Any], *, reads_labels: bool) -> InputCheck:
    """Return the check of a Loss's inputs; the arguments are those of ``InputCheck``."""
    return _CHECKS[loss.inputs](loss, arguments, reads_labels=reads_labels)
