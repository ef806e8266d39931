"""The table that ``auto`` reads: what it holds, and what it rests on."""

import json
from pathlib import Path

from lossbench import impls
from lossbench.impls.recommended import TABLE, recommendations

ROOT = Path(__file__).parent.parent.parent


def test_the_shipped_table_holds_only_what_is_registered():
    shipped = recommendations()
    assert set(shipped) <= {loss.name for loss in impls.losses()}
    for loss, sheets in shipped.items():
        for each in sheets:
            assert "reference" in each.variants
            assert not [name for name in each.variants if impls.implementation(loss, name).departs]


def test_the_shipped_table_says_what_it_rests_on():
    table = json.loads((ROOT / "impls" / TABLE).read_text())
    named = {each.machine for lines in recommendations().values() for each in lines}
    assert named == set(table["machines"])
    for machine in table["machines"].values():
        assert all(machine[name] for name in ("processors", "torch", "commits", "first", "last"))
