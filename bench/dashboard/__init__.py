"""asv's results as a static site that needs no network, and a server for this machine only."""

from lossbench.bench.dashboard.serving import open_server
from lossbench.bench.dashboard.site import Site, publish

__all__ = ["Site", "open_server", "publish"]
