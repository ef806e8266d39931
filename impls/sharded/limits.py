"""What every sharded variant registers with, and what none is fit for."""

from collections.abc import Mapping
from typing import Any

from lossbench.impls.sharded.ranks import no_group

SHARDED_LIMITS: Mapping[str, str] = {
    "compile": "refused: it exchanges sizes between processes at each call; compile the backbone "
    "alone",
    "export": "refused: it exchanges sizes between processes at each call",
    "functional": "torch has no functorch transform of its collectives",
    "double-backward": "refused: its backward pass has no derivative",
    "forward-mode": "refused by torch: its backward passes have no forward-mode counterpart",
    "ddp": "refused by torch, as its parameters are shards; wrap the backbone alone",
    "fsdp": "refused by torch, as its parameters are shards already; shard the backbone alone",
}
"""The limits of a variant that is computed by several processes."""

SHARDED: Mapping[str, Any] = {
    "limits": SHARDED_LIMITS,
    # torch 2.11 gives a column shard a gradient of the whole shape.
    "since": (2, 13),
    "problem": no_group,
    "joins_batches": True,
}
"""What every contender here registers with, if it has no more limits."""

SHARDED_HEAD: Mapping[str, Any] = {**SHARDED, "leaves_out": ("logits",), "takes_options": True}
"""What every classification head here registers with."""
