"""The largest error of each sharded loss on each number of processes.

``python -m tests.impls.sharded.table`` prints it, and the faults that the checks find.
"""

from collections.abc import Sequence
from typing import Any

import torch

from tests.impls.sharded.asked import FAULTY_RANKS, ask_ranks
from tests.impls.sharded.cases import CASES, WORLDS, ShardCase
from tests.impls.sharded.faults import FAULTS
from tests.impls.sharded.measured import complaints, errors


def oracle_table(ranks: Sequence[dict[str, Any]], cases: Sequence[ShardCase] = CASES) -> str:
    """Return the largest relative error over some cases, as a table in Markdown."""
    head = ["loss", "variant", *(f"{world} ranks" for world in WORLDS)]
    lines = [head, ["---"] * len(head)]
    compared = dict.fromkeys((case.loss, case.variant) for case in cases)
    for loss, variant in compared:
        of_loss = [case for case in cases if (case.loss, case.variant) == (loss, variant)]
        largest = (
            max(
                max(errors(case, _steps(ranks, str(case), world)).values())
                for case in of_loss
                if world in case.worlds and case.dtype is torch.float64
            )
            for world in WORLDS
        )
        lines.append([loss, variant, *(f"{error:.1e}" for error in largest)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fault_table(ranks: Sequence[dict[str, Any]]) -> str:
    """Return what the checks say of each planted fault, as a table in Markdown."""
    lines = [["fault", "found by"], ["---", "---"]]
    for fault in FAULTS:
        found = [
            f"{case}: {complaint}"
            for case in fault.tried
            for complaint in complaints(
                case, [ranks[n]["faults"][fault.name, str(case)] for n in range(FAULTY_RANKS)]
            )
        ]
        lines.append([fault.name, found[0] if found else "NOT FOUND"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _steps(ranks: Sequence[dict[str, Any]], case: str, world: int) -> list[Any]:
    return [ranks[rank]["steps"][case, world] for rank in range(world)]


if __name__ == "__main__":
    answers = ask_ranks()
    print(oracle_table(answers), fault_table(answers), sep="\n\n")
