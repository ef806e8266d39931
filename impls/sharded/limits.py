"""What no sharded loss is fit for."""

from collections.abc import Mapping

SHARDED_LIMITS: Mapping[str, str] = {
    "compile": "its sizes are exchanged between processes at each call; compile the backbone alone",
    "export": "its sizes are exchanged between processes at each call",
    "functional": "torch has no functorch transform of its collectives",
    "double-backward": "refused: its backward pass has no derivative",
    "forward-mode": "refused by torch: its backward passes have no forward-mode counterpart",
    "ddp": "it stays outside DistributedDataParallel, which would average its shards; wrap the "
    "backbone alone",
    "fsdp": "it stays outside fully_shard, because its parameters are shards already; shard the "
    "backbone alone",
}
"""The limits of a variant that is computed by several processes."""
