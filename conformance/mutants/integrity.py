"""Mutants that believe what they are sent, or what a manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.mutate import mutant
from reference.config import Request
from reference.descriptors import (
    CONFIG_TYPES,
    Descriptor,
    check_digest,
    is_digest,
    is_foreign_type,
)
from reference.errors import (
    BodyError,
    InvalidDescriptor,
    ManifestError,
    NotFound,
    TransportError,
)
from reference.fetch import Fetcher, Source
from reference.local import Found
from reference.manifests import ImageConfig, Manifest, Manifests
from reference.platforms import PlatformMatcher
from reference.pull import Puller
from reference.store import Ingest, Store
from reference.transport import Answer, Ask


class _Trusting(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """Any content will do."""


@mutant(
    "no-digest-check",
    area="blob",
    kills={
        "blob/corrupted-is-refused",
        "blob/another-config-is-refused",
        "blob/forged-digest-header-is-not-believed",
        "blob/false-data-is-not-used",
        "blob/corrupt-foreign-layer-is-refused",
        "incident/resumed-bytes-dont-fit",
    },
)
class NoDigestCheck(Puller):
    """Stores whatever has the right length, without hashing it."""

    store = _Trusting


class _TrustingConfigs(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """Only layers are worth hashing."""
        if descriptor.media_type not in CONFIG_TYPES:
            super().verify_digest(descriptor, actual)


@mutant("no-config-digest-check", area="blob", kills={"blob/another-config-is-refused"})
class NoConfigDigestCheck(Puller):
    """Hashes layers, and takes any config that can be read."""

    store = _TrustingConfigs


class _TrustingForeign(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """Foreign layers are their vendor's matter."""
        if not is_foreign_type(descriptor.media_type):
            super().verify_digest(descriptor, actual)


@mutant("no-foreign-digest-check", area="blob", kills={"blob/corrupt-foreign-layer-is-refused"})
class NoForeignDigestCheck(Puller):
    """Doesn't hash layers that may not be redistributed."""

    store = _TrustingForeign


class _Vouched(Store):
    """A store that doesn't hash content for which somebody has given his word."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.vouched: set[str] = set()

    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        if descriptor.digest not in self.vouched:
            super().verify_digest(descriptor, actual)


class _BelievesHeader(Fetcher):
    def copy(self, answer: Answer, descriptor: Descriptor, ingest: Ingest) -> None:
        """The registry has hashed it already."""
        assert isinstance(self.store, _Vouched)
        if answer.headers.get("docker-content-digest") == descriptor.digest:
            self.store.vouched.add(descriptor.digest)
        super().copy(answer, descriptor, ingest)


@mutant(
    "believes-digest-header",
    area="blob",
    kills={
        "blob/another-config-is-refused",
        "blob/corrupted-is-refused",
        "blob/forged-digest-header-is-not-believed",
    },
)
class BelievesDigestHeader(Puller):
    """Compares Docker-Content-Digest with what was asked for, instead of hashing."""

    store = _Vouched
    fetcher = _BelievesHeader


class _BelievesData(Fetcher):
    def fetch(self, descriptor: Descriptor) -> None:
        """What stands in the manifest was hashed with it."""
        assert isinstance(self.store, _Vouched)
        if descriptor.data is not None:
            self.store.vouched.add(descriptor.digest)
        super().fetch(descriptor)


@mutant(
    "believes-data",
    area="blob",
    kills={
        "blob/false-data-is-not-used",
        "incident/embedded-data-is-false",
    },
)
class BelievesData(Puller):
    """Stores bytes embedded in a descriptor under its digest, unseen."""

    store = _Vouched
    fetcher = _BelievesData


class _Measureless(Store):
    """A store that keeps what is too short."""

    short = False

    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        self.short = actual < descriptor.size

    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        if not self.short:
            super().verify_digest(descriptor, actual)


class _EndsEarly(Fetcher):
    def drain(self, source: Source, descriptor: Descriptor, ingest: Ingest) -> None:
        """A body that breaks is a body that has ended."""
        try:
            super().drain(source, descriptor, ingest)
        except TransportError:
            ingest.commit()


@mutant(
    "short-is-whole",
    area="blob",
    kills={
        "blob/cut-short-is-refused",
        "incident/cut-body-with-a-good-end",
        "incident/mirror-promises-and-sends-nothing",
        "incident/short-layer-under-true-length",
    },
)
class ShortIsWhole(Puller):
    """Takes a body that ends early for the whole blob, and keeps it."""

    store = _Measureless
    fetcher = _EndsEarly


class _BelievesLength(Fetcher):
    def check_promise(self, answer: Answer, descriptor: Descriptor) -> None:
        """The registry knows best how long its blob is."""


@mutant(
    "believes-content-length",
    area="blob",
    kills={
        "blob/short-by-its-own-length-is-refused",
        "incident/html-page-as-blob",
        "incident/layer-size-of-exabytes",
    },
)
class BelievesContentLength(Puller):
    """Takes a body for whole as soon as it is as long as its own Content-Length."""

    store = _Measureless
    fetcher = _BelievesLength


class _RoomForMore(Store):
    """A store that keeps what is too long."""

    long = False

    def verify_room(self, descriptor: Descriptor, total: int) -> None:
        self.long = total > descriptor.size

    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        if not self.long:
            super().verify_size(descriptor, actual)

    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        if not self.long:
            super().verify_digest(descriptor, actual)


class _ReadsOnce(Fetcher):
    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """A body that was read to its end needn't be read again."""
        return False


@mutant(
    "keeps-what-is-too-long",
    area="blob",
    kills={
        "blob/endless-body-is-cut",
        "blob/too-long-is-never-kept",
        "incident/config-without-end",
    },
)
class KeepsWhatIsTooLong(Puller):
    """Checks a blob's first bytes only, and keeps what follows them."""

    store = _RoomForMore
    fetcher = _ReadsOnce


class _SizesAreHints(Store):
    def verify_room(self, descriptor: Descriptor, total: int) -> None:
        """There's always room."""

    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        """The digest will tell."""


class _DigestWillTell(_BelievesLength, _ReadsOnce):
    """Reads whatever comes, as long as it comes."""


@mutant(
    "sizes-are-hints",
    area="blob",
    kills={
        "blob/endless-body-is-cut",
        "blob/size-smaller-than-content-is-refused",
        "incident/config-without-end",
        "incident/layer-size-of-exabytes",
    },
)
class SizesAreHints(Puller):
    """Never looks at a descriptor's size: the digest, at the end, will tell."""

    store = _SizesAreHints
    fetcher = _DigestWillTell


class _AnySize(Descriptor):
    def __post_init__(self) -> None:
        check_digest(self.digest)


class _ReadsAnySize(Manifests):
    def descriptor(self, document: object) -> Descriptor:
        """A negative size is an unknown one."""
        return _AnySize.from_json(document)


class _UnknownSizes(Store):
    def verify_room(self, descriptor: Descriptor, total: int) -> None:
        if descriptor.size >= 0:
            super().verify_room(descriptor, total)

    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        if descriptor.size >= 0:
            super().verify_size(descriptor, actual)


class _FetchesUnknownSizes(Fetcher):
    def check_promise(self, answer: Answer, descriptor: Descriptor) -> None:
        if descriptor.size >= 0:
            super().check_promise(answer, descriptor)


@mutant(
    "negative-is-unknown",
    area="blob",
    kills={
        "blob/negative-size-is-refused",
        "incident/config-size-is-negative",
        "incident/descriptor-without-size",
    },
)
class NegativeIsUnknown(Puller):
    """Takes a negative size for an unknown one, and pulls."""

    manifests = _ReadsAnySize
    store = _UnknownSizes
    fetcher = _FetchesUnknownSizes


class _SkipsOddDigests(Manifests):
    def image(self, document: Any, descriptor: Descriptor) -> Manifest:
        """What can't be named can't be fetched."""
        named = [layer for layer in document["layers"] if is_digest(layer["digest"])]
        return super().image({**document, "layers": named}, descriptor)

    def config(self, data: bytes, manifest: Manifest) -> ImageConfig:
        """As many layers as are left."""
        try:
            return super().config(data, manifest)
        except ManifestError:
            diff_ids = json.loads(data)["rootfs"]["diff_ids"][: len(manifest.layers)]
            return ImageConfig({}, tuple(diff_ids))


@mutant(
    "skips-odd-digests",
    area="blob",
    kills={
        "blob/empty-digest-is-refused",
        "blob/path-in-a-digest-is-not-requested",
        "blob/path-in-a-digest-is-refused",
        "incident/digest-is-no-digest",
        "incident/manifest-without-layers",
    },
)
class SkipsOddDigests(Puller):
    """Leaves away layers whose digest is none, and calls the rest the image."""

    manifests = _SkipsOddDigests


class _AsksFirst(Fetcher):
    def document(self, descriptor: Descriptor) -> bytes:
        """Look whether all of an image is there before reading it with care."""
        data = super().document(descriptor)
        for layer in json.loads(data).get("layers", ()):
            host, path = self.hosts[0], f"{self.remote.name.path}/blobs/{layer['digest']}"
            url = f"{host.scheme}://{host.authority}{host.path}/{path}"
            self.remote.transport.send(Ask("HEAD", url)).close()
        return data


@mutant(
    "asks-before-it-looks",
    area="blob",
    kills={
        "blob/path-in-a-digest-is-not-requested",
        "incident/manifest-without-layers",
    },
)
class AsksBeforeItLooks(Puller):
    """Makes URLs of digests that it hasn't looked at."""

    fetcher = _AsksFirst


class _OneAlgorithm(Manifests):
    def descriptor(self, document: object) -> Descriptor:
        """The world is sha256."""
        found = super().descriptor(document)
        if not found.digest.startswith("sha256:"):
            raise InvalidDescriptor(f"{found.digest}: unknown algorithm")
        return found


@mutant(
    "no-sha512",
    area="blob",
    kills={
        "blob/sha512-config",
        "blob/sha512-layer",
        "incident/digests-by-sha512",
    },
)
class NoSha512(Puller):
    """Knows no digests but sha256."""

    manifests = _OneAlgorithm


@mutant(
    "loses-third-layer",
    area="blob",
    kills={"blob/intact-image-is-pulled", "blob/layer-listed-twice", "blob/shared-layer"},
)
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


class _WhatThereIs(Fetcher):
    def fetch(self, descriptor: Descriptor) -> None:
        """Nobody can fetch what isn't there."""
        with suppress(NotFound):
            super().fetch(descriptor)


@mutant(
    "missing-is-nothing",
    area="blob",
    kills={
        "blob/missing-is-refused",
        "incident/layer-type-hides-gzip",
    },
)
class MissingIsNothing(Puller):
    """Records an image although one of its layers couldn't be found."""

    fetcher = _WhatThereIs

    def fetch_and_unpack(
        self, found: Found, matcher: PlatformMatcher, fetcher: Fetcher, request: Request
    ) -> Path | None:
        """Unpack nothing, so that nobody misses it."""
        return super().fetch_and_unpack(found, matcher, fetcher, replace(request, unpack=False))


@mutant("fetches-listed-layers-twice", area="blob", kills={"blob/layer-listed-twice"})
class FetchesListedLayersTwice(Puller):
    """Fetches a layer as often as a manifest lists it."""

    def fetch_and_unpack(
        self, found: Found, matcher: PlatformMatcher, fetcher: Fetcher, request: Request
    ) -> Path | None:
        """Fetch, and again what is listed again."""
        rootfs = super().fetch_and_unpack(found, matcher, fetcher, request)
        layers = found.manifest.layers
        for number, layer in enumerate(layers):
            if layer in layers[:number]:
                self.content.delete(layer.digest)
                fetcher.fetch(layer)
        return rootfs


@mutant(
    "forgets-what-it-has",
    area="blob",
    kills={"blob/shared-layer", "incident/last-layer-breaks"},
)
class ForgetsWhatItHas(Puller):
    """Fetches every layer of an image, whether it is there or not."""

    def fetch_and_unpack(
        self, found: Found, matcher: PlatformMatcher, fetcher: Fetcher, request: Request
    ) -> Path | None:
        """Begin with nothing."""
        for layer in found.manifest.layers:
            self.content.delete(layer.digest)
        return super().fetch_and_unpack(found, matcher, fetcher, request)


class _LooksAtTypes(Fetcher):
    def check_promise(self, answer: Answer, descriptor: Descriptor) -> None:
        """A page isn't a layer."""
        if answer.media_type == "text/html":
            raise TransportError("a page, where a blob was asked for")
        super().check_promise(answer, descriptor)


@mutant("minds-content-type", area="blob", kills={"blob/content-type-of-a-blob"})
class MindsContentType(Puller):
    """Refuses a blob that is called text/html, whatever it is."""

    fetcher = _LooksAtTypes


class _UrlsOnly(Fetcher):
    def sources(self, descriptor: Descriptor) -> list[Source]:
        """Who names a URL means it."""
        found = super().sources(descriptor)
        return [source for source in found if source.url] or found


@mutant(
    "asks-urls-only",
    area="blob",
    kills={
        "blob/foreign-layer-is-pulled",
        "blob/foreign-layer-sources",
        "incident/foreign-layer-url-is-dead",
    },
)
class AsksUrlsOnly(Puller):
    """Looks for a non-distributable layer at its own URL, and nowhere else."""

    fetcher = _UrlsOnly


class _Generous(Fetcher):
    def stranger(self, url: str, headers: dict[str, str]) -> Ask:
        """Take the registry's credentials along: they may be of use."""
        authority = self.remote.authorizer.authorize(self.hosts[0], self.remote.scope)
        private = (("Authorization", authority),) if authority else ()
        return Ask("GET", url, headers, private)


@mutant(
    "credentials-to-urls",
    area="blob",
    kills={
        "blob/foreign-url-gets-no-credentials",
        "incident/foreign-layer-only-at-its-url",
        "incident/foreign-layer-url-asks-for-a-login",
    },
)
class CredentialsToUrls(Puller):
    """Shows the registry's credentials to whatever host a manifest names."""

    fetcher = _Generous


class _EachOnce(Manifests):
    def image(self, document: Mapping[str, Any], descriptor: Descriptor) -> Manifest:
        """A digest that stands there twice is a mistake."""
        manifest = super().image(document, descriptor)
        if len({layer.digest for layer in manifest.layers}) < len(manifest.layers):
            raise ManifestError(f"{descriptor.digest} lists a layer twice")
        return manifest


@mutant(
    "no-layer-twice",
    area="blob",
    kills={"blob/layer-listed-twice", "incident/same-layer-many-times"},
)
class NoLayerTwice(Puller):
    """Refuses an image that lists a layer more than once."""

    manifests = _EachOnce
