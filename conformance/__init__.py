"""The conformance suite that any image puller can be pointed at."""
