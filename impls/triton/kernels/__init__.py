"""The kernels and the operators that launch them; imported where a module of them is built.

Each of these modules needs the package ``triton``. A kernel takes contiguous tensors; ``batch``,
``dim`` and ``classes`` are the sizes B, D and C. Offsets are int64, because a matrix may have more
than 2³¹ elements.
"""
