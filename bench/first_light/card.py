"""Print the environment of a first light as JSON; run in a process of its own.

CUDA, once started, keeps a part of the card's memory until its process ends. So the process that
runs the steps never starts it.
"""

from pydantic import TypeAdapter

from lossbench.bench.machine.environment import Environment, current_environment


def main() -> None:
    """Print the environment."""
    print(TypeAdapter(Environment).dump_json(current_environment(), indent=1).decode())


if __name__ == "__main__":
    main()
