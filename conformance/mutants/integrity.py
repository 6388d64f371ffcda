"""Mutants that believe what they are sent."""

from __future__ import annotations

from pathlib import Path

from conformance.mutate import mutant
from reference.config import Request
from reference.descriptors import Descriptor
from reference.errors import TransportError
from reference.fetch import Fetcher, Source
from reference.local import Found
from reference.platforms import PlatformMatcher
from reference.pull import Puller
from reference.store import Ingest, Store


class _Trusting(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """Any content will do."""


@mutant("no-digest-check", area="blob", kills={"blob/corrupted-is-refused"})
class NoDigestCheck(Puller):
    """Stores whatever has the right length, without hashing it."""

    store = _Trusting


class _Measureless(Store):
    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        """Any length will do."""

        self.short = actual < descriptor.size

    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """What is short can't have the right digest: that isn't asked of it."""
        if not self.short:
            super().verify_digest(descriptor, actual)


class _EndsEarly(Fetcher):
    def drain(self, source: Source, descriptor: Descriptor, ingest: Ingest) -> None:
        """A body that breaks is a body that has ended."""
        try:
            super().drain(source, descriptor, ingest)
        except TransportError:
            ingest.commit()


@mutant("short-is-whole", area="blob", kills={"blob/cut-short-is-refused"})
class ShortIsWhole(Puller):
    """Takes a body that ends early for the whole blob, and keeps it."""

    store = _Measureless
    fetcher = _EndsEarly


@mutant("loses-third-layer", area="blob", kills={"blob/intact-image-is-pulled"})
class LosesThirdLayer(Puller):
    """Keeps two layers of an image, and says that it has all."""

    def fetch_and_unpack(
        self, found: Found, matcher: PlatformMatcher, fetcher: Fetcher, request: Request
    ) -> Path | None:
        """Fetch all, and lose one."""
        rootfs = super().fetch_and_unpack(found, matcher, fetcher, request)
        for layer in found.manifest.layers[2:3]:
            self.content.delete(layer.digest)
        return rootfs
