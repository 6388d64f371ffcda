"""Pullers that go wrong where they meet a layer that doesn't hash to its digest, and only there.

With an honest registry each does all that the reference does, so that it can be judged.
"""

from __future__ import annotations

import os
import signal
import threading
from abc import abstractmethod

from reference.descriptors import Descriptor
from reference.pull import Puller
from reference.store import Store


class _Faulty(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        if actual != descriptor.digest:
            self.go_wrong()
        super().verify_digest(descriptor, actual)

    @abstractmethod
    def go_wrong(self) -> None: ...


class _Crashes(_Faulty):
    def go_wrong(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Crashes(Puller):
    """Dies."""

    store = _Crashes


class _Hangs(_Faulty):
    def go_wrong(self) -> None:
        threading.Event().wait()


class Hangs(Puller):
    """Waits for ever."""

    store = _Hangs


class _Escapes(_Faulty):
    def go_wrong(self) -> None:
        case = next(path for path in self.path("sha256:" + "0" * 64).parents if _has_canary(path))
        (case / "outside" / "here-i-was").write_text("!")


class Escapes(Puller):
    """Writes beside its store, and refuses."""

    store = _Escapes


def _has_canary(path: os.PathLike[str]) -> bool:
    return os.path.isfile(os.path.join(path, "outside", "canary"))


class _Trusts(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """Any content will do."""


class Trusts(Puller):
    """Takes what comes."""

    store = _Trusts
