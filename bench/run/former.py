"""Read Records of former schemas: each reader turns JSON of one schema into that of the next.

To change the schema, add a function here. It fills in what the former schema did not have, and
drops no figure. A new field of Record with a default needs no new schema.

==  ================================================================================
1   times of one process, the load in the environment, errors without ulps and draw
2   times by process, counters, ceilings, conditions
==  ================================================================================
"""

from collections.abc import Callable, Mapping
from typing import Any

SCHEMA = 2


def upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a Record of a former schema, converted to the current schema.

    Raises:
        KeyError: if the schema has no reader, or a field of the schema is missing.
        TypeError: if a field has another type.
    """
    while document["schema"] != SCHEMA:
        document = READERS[document["schema"]](document)
    return document


def _from_1(document: dict[str, Any]) -> dict[str, Any]:
    environment = dict(document["environment"])
    conditions = {"load": environment.pop("load")}
    memory = document["memory"]
    return {
        **document,
        # Schema 1 did not record which CPUs were used.
        "environment": {**environment, "affinity": [], "conditions": conditions},
        "agreement": [
            {**part, "ulps": "NaN", "reference_ulps": "NaN", "draw": None}
            for part in document["agreement"]
        ],
        "memory": memory and _memory_from_1(memory),
        "forward": _timing_from_1(document["forward"]),
        "step": _timing_from_1(document["step"]),
        "schema": 2,
    }


def _memory_from_1(memory: dict[str, Any]) -> dict[str, Any]:
    # Schema 1 recorded the peak of a step, which is the larger one of forward and backward.
    kept = {name: value for name, value in memory.items() if name != "step_peak_bytes"}
    return {**kept, "backward_peak_bytes": memory["step_peak_bytes"]}


def _timing_from_1(timing: dict[str, Any] | None) -> dict[str, Any] | None:
    return timing and {"processes": [timing]}


READERS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
