"""Modules that asv imports once before it forks, so its processes do not import them again."""

import pydantic  # noqa: F401 - the dataclasses of the results
import scipy.stats  # noqa: F401 - the intervals of the samples
import torch._inductor  # the profiler looks for it
import torch.utils.benchmark  # noqa: F401 - the clock; it imports setuptools
