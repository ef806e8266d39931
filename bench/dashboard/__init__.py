"""asv's results as one static site: built for use without a network, and served to this machine."""

from lossbench.bench.dashboard.serving import open_server
from lossbench.bench.dashboard.site import Site, publish

__all__ = ["Site", "open_server", "publish"]
