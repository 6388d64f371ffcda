"""Mutants that stumble over indexes, layers and old forms that are odd, and no lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from conformance.mutate import mutant
from reference.decompress import Compression, Decompressor
from reference.descriptors import SCHEMA1, Descriptor
from reference.errors import LayerError, UnsupportedMediaType
from reference.layers import LayerApplier
from reference.local import Found
from reference.manifests import Manifest
from reference.platforms import PlatformMatcher
from reference.pull import Puller
from reference.schema1 import Schema1Converter

_DEEP = 8
_SOME = 50

# Indexes.


class _NeedsVariant(PlatformMatcher):
    def candidates(self, entries: Iterable[Descriptor]) -> list[Descriptor]:
        """arm64 is v8, and says so."""
        return super().candidates(
            entry
            for entry in entries
            if (entry.platform or {}).get("architecture") != "arm64"
            or (entry.platform or {}).get("variant")
        )


@mutant(
    "arm64-needs-its-variant",
    area="indexes",
    kills={
        "incident/arm64-without-its-variant",
    },
)
class Arm64NeedsItsVariant(Puller):
    """Takes no arm64 entry that doesn't say v8, as CRI-O did."""

    platforms = _NeedsVariant


@mutant(
    "fetches-what-is-listed",
    area="indexes",
    kills={
        "incident/index-of-two-hundred",
        "indexes/unknown-type-first",
        "indexes/unknown-type-without-platform",
    },
)
class FetchesWhatIsListed(Puller):
    """Fetches the first fifty entries of an index, and then chooses."""

    def find(
        self,
        target: Descriptor,
        matcher: PlatformMatcher,
        read: Callable[[Descriptor], bytes],
    ) -> Found:
        """Better to have a look at all of them."""
        document = self.manifests().read(read(target), target)
        if not isinstance(document, Manifest):
            for entry in document.entries[:_SOME]:
                read(entry)
        return super().find(target, matcher, read)


@mutant(
    "begins-at-the-top-again",
    area="indexes",
    kills={
        "incident/index-nested-fifty-deep",
    },
)
class BeginsAtTheTopAgain(Puller):
    """Fetches all indexes above anew at each level of deep nesting, and has no bound on it."""

    def find(
        self,
        target: Descriptor,
        matcher: PlatformMatcher,
        read: Callable[[Descriptor], bytes],
    ) -> Found:
        """Down, however deep it goes."""
        way = [target]
        while True:
            document = self.manifests().read(read(way[-1]), way[-1])
            if isinstance(document, Manifest):
                return Found(target, way[-1], document)
            way.append(matcher.choose(document.entries, way[-1].digest))
            for above in way[:-1] if len(way) > _DEEP else ():
                self.content.delete(above.digest)
                read(above)


# Layers and old forms.


class _BelievesTypes(Decompressor):
    def compression(self, media_type: str, head: bytes) -> Compression:
        """A type is a promise."""
        said = media_type.partition("+")[2]
        if said == "gzip" or media_type.endswith(".gzip"):
            return "gzip"
        return super().compression(media_type, head)


class _BelievesTypesLayers(LayerApplier):
    decompressor = _BelievesTypes


@mutant(
    "believes-types-alone",
    area="unpack",
    kills={
        "incident/layer-type-claims-gzip",
    },
)
class BelievesTypesAlone(Puller):
    """Takes for gzip whatever is called gzip."""

    layers = _BelievesTypesLayers


class _SignedOnly(Schema1Converter):
    def convert(self, document: bytes, descriptor: Descriptor) -> Descriptor:
        """No signature, no image."""
        if descriptor.media_type == SCHEMA1:
            raise UnsupportedMediaType("the schema 1 manifest isn't signed")
        return super().convert(document, descriptor)


@mutant(
    "signed-schema1-only",
    area="schema1",
    kills={
        "incident/schema1-unsigned",
    },
)
class SignedSchema1Only(Puller):
    """Refuses schema 1 without a signature: right, and to be seen."""

    schema1 = _SignedOnly


class _GzipAlways(Schema1Converter):
    def inspect(self, descriptor: Descriptor) -> Any:
        """All old layers are gzip."""
        with self.store.open(descriptor.digest) as blob:
            if not blob.read(2).startswith(b"\x1f\x8b"):
                raise LayerError(f"{descriptor.digest}: invalid gzip header")
        return super().inspect(descriptor)


@mutant(
    "schema1-is-gzip",
    area="schema1",
    kills={
        "incident/schema1-layers-are-plain-tar",
    },
)
class Schema1IsGzip(Puller):
    """Takes every layer of a schema 1 image for gzip, as ctr did."""

    schema1 = _GzipAlways
