"""What asv imports once, before it forks, as each of its processes would import it anew."""

import pydantic  # noqa: F401 - the dataclasses of what is measured
import scipy.stats  # noqa: F401 - the intervals of the samples
import torch._inductor  # the profiler looks for it
import torch.utils.benchmark  # noqa: F401 - the clock; it brings setuptools
