"""The command line: ``lossbench``, or ``python -m lossbench``."""

import sys


def run() -> int:
    """Run a command and return its exit code."""
    try:
        from lossbench.bench.first_light.wheels import use_asked_wheels
        from lossbench.bench.terminal import set_up

        set_up()
        problem = use_asked_wheels(sys.argv[1:])
        if problem:
            print(f"error: {problem}", file=sys.stderr)
            return 2
        # This imports packages of the extra `bench`, which may be missing or take seconds.
        from lossbench.bench.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        missing = (error.name or "lossbench").partition(".")[0]
        if missing in {"lossbench", *sys.stdlib_module_names}:
            raise
        print(
            f"error: this command needs the package {missing}, which is not installed here: "
            'pip install "lossbench[bench]"',
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(run())
