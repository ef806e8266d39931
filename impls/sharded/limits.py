"""What no sharded loss is fit for."""

from collections.abc import Mapping

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

# torch 2.11 gives a column shard a gradient of the whole shape.
SHARDED_SINCE = (2, 13)
"""The first release of torch that a sharded variant is proven on."""
