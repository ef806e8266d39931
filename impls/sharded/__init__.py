"""Losses over several processes: classes in shards, batches gathered; ``over`` names the group."""

from lossbench.impls.sharded.ranks import over

__all__ = ["over"]
