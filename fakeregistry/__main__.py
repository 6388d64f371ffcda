"""``python -m fakeregistry``: the command ``fakeregistry``."""

import sys

from .cli import main

sys.exit(main())
