"""The release of torch that runs: major and minor version, which decide what its compiler does."""

import re

import torch

# The oldest release that the distribution's metadata permits.
OLDEST_TORCH = (2, 11)


def release_of(version: str) -> tuple[int, int]:
    """Return the release of a version of torch: ``(2, 13)`` of ``2.13.0+cpu``."""
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def running_release() -> tuple[int, int]:
    """Return the release of the torch that runs."""
    return release_of(torch.__version__)


def release_text(release: tuple[int, int]) -> str:
    """Return a release as users write it: ``2.13``."""
    return ".".join(map(str, release))
