"""Mutants that stumble over what is odd and no lie: types, variants, sizes, old forms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from conformance.mutate import mutant
from reference.decompress import Compression, Decompressor
from reference.descriptors import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCTET_STREAM,
    SCHEMA1,
    Descriptor,
)
from reference.errors import (
    ConfigError,
    LayerError,
    PullError,
    RegistryError,
    TransportError,
    UnsupportedMediaType,
)
from reference.fetch import Fetcher
from reference.hosts import Host
from reference.layers import LayerApplier
from reference.local import Found
from reference.manifests import Manifest, Manifests
from reference.names import Name
from reference.platforms import PlatformMatcher
from reference.pull import Puller
from reference.remote import Remote
from reference.resolve import ACCEPT, Resolved, Resolver
from reference.schema1 import Schema1Converter
from reference.transport import Answer

_DOCUMENTS = INDEX_TYPES | MANIFEST_TYPES
_DEEP = 8
_SOME = 50

# What a manifest is called.


class _ReadsDocument(Resolver):
    def described(self, answer: Answer, name: Name) -> Descriptor | None:
        """A type that says nothing isn't enough."""
        found = super().described(answer, name)
        return found if found is None or found.media_type in _DOCUMENTS else None

    def read(self, answer: Answer, name: Name) -> Resolved:
        """The document says what it is."""
        resolved = super().read(answer, name)
        if resolved.descriptor.media_type in _DOCUMENTS:
            return resolved
        try:
            inside = str(json.loads(resolved.body or b"")["mediaType"])
        except (ValueError, LookupError, TypeError):
            return resolved
        return replace(resolved, descriptor=replace(resolved.descriptor, media_type=inside))


@mutant(
    "knows-by-the-document",
    area="manifests",
    kills={
        "incident/manifest-as-text-html",
        "incident/manifest-under-a-generic-type",
        "manifests/without-content-type",
    },
)
class KnowsByTheDocument(Puller):
    """Believes a document about its type where the header says nothing: allowed, and to be seen."""

    resolver = _ReadsDocument


class _AcceptsImages(Resolver):
    methods: tuple[str, ...] = ("HEAD", "GET")

    def ask(self, host: Host, method: str, name: Name, *, last: bool) -> Answer:
        """An image is wanted, so images are accepted."""
        if method not in self.methods:
            return super().ask(host, method, name, last=last)
        accept = ", ".join(sorted(MANIFEST_TYPES))
        return self.remote.ask(host, method, "manifests", name.object, accept=accept, last=last)


@mutant(
    "accepts-images-alone",
    area="manifests",
    kills={
        "incident/head-of-a-list-is-an-image",
        "incident/type-not-accepted-is-406",
        "manifests/accept-names-known-types",
    },
)
class AcceptsImagesAlone(Puller):
    """Doesn't say that it knows indexes."""

    resolver = _AcceptsImages


class _HeadsOfImages(_AcceptsImages):
    methods = ("HEAD",)


@mutant(
    "asks-heads-for-images",
    area="manifests",
    kills={
        "incident/head-of-a-list-is-an-image",
        "incident/type-not-accepted-is-406",
        "manifests/accept-names-known-types",
    },
)
class AsksHeadsForImages(Puller):
    """Says by GET that it knows indexes, and not by HEAD."""

    resolver = _HeadsOfImages


class _AmongBlobs(Resolver):
    def at(self, host: Host, name: Name, *, last: bool) -> Resolved:
        """What isn't among the manifests may be among the blobs."""
        try:
            return super().at(host, name, last=last)
        except TransportError:
            if not name.digest:
                raise
            with self.remote.ask(
                host, "HEAD", "blobs", name.digest, accept=ACCEPT, last=last
            ) as answer:
                size = answer.content_length or 0
                return Resolved(Descriptor(self.media_type(answer), name.digest, size))


@mutant(
    "looks-among-blobs",
    area="manifests",
    kills={"incident/manifest-fails-and-its-blob-answers"},
)
class LooksAmongBlobs(Puller):
    """Looks for an image among the blobs as soon as its manifest fails, as containerd does."""

    resolver = _AmongBlobs


class _KnownConfigs(Manifests):
    def image(self, document: Any, descriptor: Descriptor) -> Manifest:
        """A configuration has the type of one."""
        found = super().image(document, descriptor)
        if found.config.media_type == OCTET_STREAM:
            raise UnsupportedMediaType(f"the config of {descriptor.digest} is {OCTET_STREAM}")
        return found


@mutant("known-configs-only", area="manifests", kills={"incident/config-is-octet-stream"})
class KnownConfigsOnly(Puller):
    """Refuses an image whose configuration is called octet-stream."""

    manifests = _KnownConfigs


class _NoData(Fetcher):
    def fetch(self, descriptor: Descriptor) -> None:
        """Content comes from the registry."""
        super().fetch(replace(descriptor, data=None))


@mutant("ignores-embedded-data", area="blob", kills={"incident/config-is-embedded-and-missing"})
class IgnoresEmbeddedData(Puller):
    """Never uses what a descriptor embeds: allowed, and to be seen."""

    fetcher = _NoData


# Sizes and sources.


class _Allocates(Fetcher):
    def fetch(self, descriptor: Descriptor) -> None:
        """Room first."""
        room = bytearray(descriptor.size)
        super().fetch(descriptor)
        del room


@mutant("allocates-stated-sizes", area="blob", kills={"incident/layer-size-of-exabytes"})
class AllocatesStatedSizes(Puller):
    """Makes room for as many bytes as a descriptor says, before it has seen one."""

    fetcher = _Allocates


class _NoUrls(Fetcher):
    def foreign_urls(self, descriptor: Descriptor) -> list[str]:
        """Registries have layers."""
        return []


@mutant(
    "ignores-urls",
    area="blob",
    kills={"incident/foreign-layer-only-at-its-url"},
)
class IgnoresUrls(Puller):
    """Never looks at a layer's own URLs."""

    fetcher = _NoUrls


class _FinalBadRequest(Remote):
    def ask(self, *arguments: Any, **options: Any) -> Answer:
        """A registry knows what it calls invalid."""
        try:
            return super().ask(*arguments, **options)
        except PullError as error:
            if isinstance(error, RegistryError) and error.status == 400:
                raise ConfigError(str(error)) from None
            raise


@mutant("mirrors-400-is-final", area="hosts", kills={"incident/mirror-says-manifest-invalid"})
class Mirrors400IsFinal(Puller):
    """Ends where a mirror calls the manifest invalid."""

    remote = _FinalBadRequest


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


@mutant("arm64-needs-its-variant", area="indexes", kills={"incident/arm64-without-its-variant"})
class Arm64NeedsItsVariant(Puller):
    """Takes no arm64 entry that doesn't say v8, as CRI-O did."""

    platforms = _NeedsVariant


@mutant(
    "fetches-what-is-listed",
    area="indexes",
    kills={
        "incident/index-of-a-thousand",
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


@mutant("begins-at-the-top-again", area="indexes", kills={"incident/index-nested-fifty-deep"})
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


@mutant("believes-types-alone", area="unpack", kills={"incident/layer-type-claims-gzip"})
class BelievesTypesAlone(Puller):
    """Takes for gzip whatever is called gzip."""

    layers = _BelievesTypesLayers


class _SignedOnly(Schema1Converter):
    def convert(self, document: bytes, descriptor: Descriptor) -> Descriptor:
        """No signature, no image."""
        if descriptor.media_type == SCHEMA1:
            raise UnsupportedMediaType("the schema 1 manifest isn't signed")
        return super().convert(document, descriptor)


@mutant("signed-schema1-only", area="schema1", kills={"incident/schema1-unsigned"})
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


@mutant("schema1-is-gzip", area="schema1", kills={"incident/schema1-layers-are-plain-tar"})
class Schema1IsGzip(Puller):
    """Takes every layer of a schema 1 image for gzip, as ctr did."""

    schema1 = _GzipAlways
