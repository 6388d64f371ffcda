"""``refpull`` with another puller in it: ``adapted_command.py module:Class pull …``."""

from __future__ import annotations

import sys

from conformance.pullers.python_child import resolve
from reference import cli, commands

if __name__ == "__main__":
    puller = resolve(sys.argv[1])
    # What the command line makes its puller of: the reference, which tells of its progress.
    vars(commands)["watched"] = lambda board: puller
    sys.exit(cli.main(sys.argv[2:]))
