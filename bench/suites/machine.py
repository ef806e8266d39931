"""Tells asv of this machine: ``python -m bench.suites.machine [NAME]``; by default the host's name.

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
