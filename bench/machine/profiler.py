"""Make torch's profiler, as all measurements use it."""

from typing import Any

from torch.profiler import ProfilerActivity, profile


def new_profiler(*more: ProfilerActivity, **options: Any) -> profile:
    """Return a profiler of the CPU.

    Args:
        *more: activities to record too.
        **options: options of ``torch.profiler.profile``.
    """
    # A profile has one cycle, so keeping its events changes nothing, but torch 2.11 warns without.
    return profile(activities=[ProfilerActivity.CPU, *more], acc_events=True, **options)
