"""The conformance suite that any image puller can be pointed at."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pullproof")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
