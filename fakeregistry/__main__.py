"""``python -m fakeregistry``: the command ``fakeregistry``."""

import sys

from .serve.cli import main

sys.exit(main())
