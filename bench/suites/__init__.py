"""The benchmarks that asv finds: every Loss and variant, by batch size and device.

``eager`` and ``compiled`` have one suite per Loss, which ``suite`` makes from ``parameters``. All
figures of a suite come from a ``cell``, which is measured once for all of them. An older commit's
``impls`` may lack modules, so these are imported only when a figure is measured.
"""
