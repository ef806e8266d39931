"""The command line: ``lossbench``, or ``python -m lossbench``."""

import sys


def run() -> int:
    """Run a command and return its exit code."""
    try:
        from lossbench.bench.terminal import set_up

        set_up()
        # It imports torch, which takes long enough to be stopped in.
        from lossbench.bench.cli import main

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run())
