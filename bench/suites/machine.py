"""Tells asv of this machine, by default by the host's name.

``python -m lossbench.bench.suites.machine [NAME]`` does it.

``asv machine --yes --machine NAME`` keeps nothing but the name.
"""

import sys


def register_machine(name: str = "") -> str:
    """Have asv know this machine by a name, its processor and its memory too; return the name."""
    from asv.machine import Machine, MachineCollection

    about = Machine.get_defaults()
    about["machine"] = name or about["machine"]
    MachineCollection.save(about["machine"], about)
    return str(about["machine"])


if __name__ == "__main__":
    print(register_machine(*sys.argv[1:]))
