"""``python -m conformance`` is ``pullproof``."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The command. Ctrl-C while it is still being loaded gets one line too."""
    try:
        from conformance.cli import main as command
    except KeyboardInterrupt:
        print("pullproof: interrupted", file=sys.stderr, flush=True)
        # Python would end by the signal itself where half a module is still being made.
        os._exit(2)
    return command()


if __name__ == "__main__":
    raise SystemExit(main())
