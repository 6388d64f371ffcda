"""Mutants that can't do two things at a time, or can't stop."""

from __future__ import annotations

import shutil
import threading
from concurrent import futures
from contextlib import nullcontext, suppress
from pathlib import Path

from conformance.mutate import mutant
from reference.config import Request
from reference.descriptors import Descriptor
from reference.downloads import Downloads
from reference.errors import PullError, StoreError
from reference.fetch import Fetcher
from reference.local import Found
from reference.platforms import PlatformMatcher
from reference.progress import Cancellation
from reference.pull import Pulled, Puller


@mutant(
    "leaves-its-lock",
    area=("concurrency", "cancel"),
    kills={
        "cancel/next-pull-after-a-kill-succeeds",
        "cancel/next-pull-succeeds",
        "concurrency/cancelled-pull-leaves-the-other",
        "concurrency/two-pulls-of-one-image",
        "incident/cancelled-inside-a-tls-record",
        "incident/cancelled-pulls-are-no-burden",
        "incident/eight-pulls-at-once",
        "incident/one-layer-stalls-and-another-image-waits",
        "incident/stalled-fetch-and-a-second-pull",
    },
)
class LeavesItsLock(Puller):
    """Locks the store by a file, which it only removes when a pull comes to its own end."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """One at a time."""
        lock = self.root / "lock"
        try:
            lock.touch(exist_ok=False)
        except FileExistsError:
            raise StoreError("the store is in use") from None
        try:
            pulled = super().pull(request, cancellation=cancellation)
        except PullError:
            lock.unlink()
            raise
        lock.unlink()
        return pulled


class _AllThreads(Downloads):
    def threads(self, blobs: int) -> int:
        """The more the better."""
        return blobs


@mutant(
    "ignores-the-limit",
    area="concurrency",
    kills={
        "concurrency/limit-is-kept",
        "incident/layers-in-parallel-are-bounded",
        "incident/many-layers-of-a-slow-registry",
    },
)
class IgnoresTheLimit(Puller):
    """Fetches all layers at once, whatever the limit."""

    downloads = _AllThreads

    def concurrent(self, fetcher: Fetcher) -> Downloads:
        """Nobody waits for a slot."""
        fetcher.slots = nullcontext()
        return super().concurrent(fetcher)


class _EachForItself(Downloads):
    def _run(self, descriptor: Descriptor) -> None:
        """What others do is their own matter."""
        self._fetch(descriptor)

    def wait(self, descriptor: Descriptor) -> None:
        """See all of them through."""
        futures.wait(self._futures.values())
        super().wait(descriptor)


@mutant(
    "finishes-what-it-began", area="concurrency", kills={"concurrency/failing-layer-ends-the-pull"}
)
class FinishesWhatItBegan(Puller):
    """Waits for every layer, though one has failed already."""

    downloads = _EachForItself


@mutant(
    "cleans-up-everything",
    area=("concurrency", "cancel"),
    kills={"concurrency/cancelled-pull-leaves-the-other"},
)
class CleansUpEverything(Puller):
    """Empties the store when it is interrupted, whoever else uses it."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """Leave no traces."""
        try:
            return super().pull(request, cancellation=cancellation)
        except KeyboardInterrupt:
            shutil.rmtree(self.root / "blobs")
            raise


@mutant(
    "cannot-be-stopped",
    area="cancel",
    kills={
        "cancel/connections-are-closed",
        "cancel/next-pull-succeeds",
        "cancel/no-image-is-left",
        "incident/cancelled-inside-a-tls-record",
        "incident/cancelled-pulls-are-no-burden",
        "incident/layer-comes-a-byte-at-a-time",
    },
)
class CannotBeStopped(Puller):
    """Takes an interrupt as a request to try harder."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """Not now."""
        try:
            return super().pull(request, cancellation=cancellation)
        except KeyboardInterrupt:
            threading.Event().wait()
            raise


@mutant("records-first", area="cancel", kills={"cancel/no-image-is-left"})
class RecordsFirst(Puller):
    """Makes an image visible as soon as its manifest is there."""

    def fetch_and_unpack(
        self, found: Found, matcher: PlatformMatcher, fetcher: Fetcher, request: Request
    ) -> Path | None:
        """The rest will come."""
        self.records.put_all([str(self.names().parse(request.image))], found.target)
        return super().fetch_and_unpack(found, matcher, fetcher, request)


@mutant("leaks-places", area="concurrency", kills={"incident/failed-pulls-use-up-the-limit"})
class LeaksPlaces(Puller):
    """Has eight places for pulls, and gives back only those of pulls that succeed."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """Take a place; who fails has no more use for it, and nobody else gets it."""
        for number in range(8):
            place = self.root / f"place-{number}"
            with suppress(FileExistsError):
                place.touch(exist_ok=False)
                break
        else:
            raise StoreError("no place is left")
        pulled = super().pull(request, cancellation=cancellation)
        place.unlink()
        return pulled
