"""Readers of former schemas: each turns the JSON of a Record into that of the next schema.

A schema step adds a function here, which fills in what the former schema did not say and drops no
figure. A new field of Record with a default needs no step.

==  ================================================================================
1   times of one process, the load in the environment, errors without ulps and draw
2   times by process, counters, ceilings, conditions
==  ================================================================================
"""

from collections.abc import Callable, Mapping
from typing import Any

SCHEMA = 2


def upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a Record of a former schema as that of the present one.

    Raises:
        KeyError: where there is no reader of its schema, or it lacks a field of its schema.
        TypeError: where a field is of another type.
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
        # Which processors were used was not recorded.
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
    # The peak of a step is the larger one of forward and backward, and was recorded as such.
    kept = {name: value for name, value in memory.items() if name != "step_peak_bytes"}
    return {**kept, "backward_peak_bytes": memory["step_peak_bytes"]}


def _timing_from_1(timing: dict[str, Any] | None) -> dict[str, Any] | None:
    return timing and {"processes": [timing]}


READERS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
