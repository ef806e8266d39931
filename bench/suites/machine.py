"""Register this machine with asv: ``python -m lossbench.bench.suites.machine [NAME]``.

The default name is the host's. asv's own ``asv machine --yes --machine NAME`` stores only the name.
"""

import sys


def register_machine(name: str = "") -> str:
    """Register this machine's name, processor and memory with asv; return the name."""
    from asv.machine import Machine, MachineCollection

    about = Machine.get_defaults()
    about["machine"] = name or about["machine"]
    MachineCollection.save(about["machine"], about)
    return str(about["machine"])


if __name__ == "__main__":
    print(register_machine(*sys.argv[1:]))
