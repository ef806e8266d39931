"""torch's notice that there is a CUDA compiler but no GPU is left out, and nothing else."""

import logging

import lossbench.bench  # noqa: F401 - it leaves the notice out
from lossbench.bench.quiet import LOGGER, NOTICE


def test_only_the_notice_is_left_out():
    words = (f"{NOTICE}, using CUDA_HOME='/usr/local'", "another warning")
    records = [logging.LogRecord(LOGGER, 30, "", 0, text, (), None) for text in words]
    logger = logging.getLogger(LOGGER)
    assert [bool(logger.filter(each)) for each in records] == [False, True]
