"""``python -m conformance`` is ``pullproof``."""

from conformance.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
