"""The public board: a static site of the recommended variant of each loss, size and machine.

Records of runs and bundles are merged by the rules of ``choose``, which also recommends.
"""
