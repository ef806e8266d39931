"""Leave out a message of torch that is no news to the user of a machine without a GPU."""

import logging

LOGGER = "torch.utils.cpp_extension"
NOTICE = "No CUDA runtime is found"


def leave_out_notice() -> None:
    """Leave out that a CUDA build of torch finds a CUDA compiler but no GPU.

    torch logs it when ``torch.utils.cpp_extension`` is first imported: by ``torch.utils.benchmark``
    and by the compiler, even if it compiles for the CPU. A command that computes on the CPU would
    print it twice, once in its worker.
    """
    logging.getLogger(LOGGER).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(NOTICE)
