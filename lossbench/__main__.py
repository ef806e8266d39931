"""The command line: ``python -m bench``."""

import sys


def run() -> int:
    """Run a command and return its exit code."""
    try:
        # It imports torch, which takes long enough to be stopped in.
        from bench.cli import main

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run())
