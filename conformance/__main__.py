"""``python -m conformance`` is ``pullproof``."""

from __future__ import annotations

import sys


def main() -> int:
    """The command. Ctrl-C while it is still being loaded gets one line too."""
    try:
        from conformance.cli import main as command
    except KeyboardInterrupt:
        print("pullproof: interrupted", file=sys.stderr)
        return 2
    return command()


if __name__ == "__main__":
    raise SystemExit(main())
