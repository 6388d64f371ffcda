"""What holds for every test of the project."""

import os
import signal


def pytest_configure() -> None:
    """Hand down an interruptible SIGINT, and nobody's logins.

    A script's background jobs, and so some CI runners', are started with SIGINT ignored, and so
    would be every program that a test starts: none could be interrupted. A handler isn't inherited.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Whoever runs the tests may be logged in somewhere, and a credential helper may ask them.
    os.environ.pop("REGISTRY_AUTH_FILE", None)
    os.environ["DOCKER_CONFIG"] = "/nonexistent"
