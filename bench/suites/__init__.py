"""The benchmarks that asv finds: every Loss and variant, by batch size and device.

``eager`` and ``compiled`` hold a suite a Loss, made of ``parameters`` by ``suite``; each of their
figures is taken from a ``cell``, which is measured once for all of them. Nothing that an older
commit's ``impls`` may lack is imported here before a figure is asked for.
"""
