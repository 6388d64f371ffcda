"""Mutants that stumble over manifests which are odd, and no lie: types, sizes, sources."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from conformance.mutate import mutant
from reference.descriptors import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCTET_STREAM,
    Descriptor,
)
from reference.errors import (
    ConfigError,
    PullError,
    RegistryError,
    TransportError,
    UnsupportedMediaType,
)
from reference.fetch import Fetcher
from reference.hosts import Host
from reference.manifests import Manifest, Manifests
from reference.names import Name
from reference.pull import Puller
from reference.remote import Remote
from reference.resolve import ACCEPT, Resolved, Resolver
from reference.transport import Answer

_DOCUMENTS = INDEX_TYPES | MANIFEST_TYPES

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
    kills={
        "incident/manifest-fails-and-its-blob-answers",
        "incident/reset-on-manifests-not-found-as-blob",
    },
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


@mutant(
    "known-configs-only",
    area="manifests",
    kills={
        "incident/config-is-octet-stream",
    },
)
class KnownConfigsOnly(Puller):
    """Refuses an image whose configuration is called octet-stream."""

    manifests = _KnownConfigs


class _NoData(Fetcher):
    def fetch(self, descriptor: Descriptor) -> None:
        """Content comes from the registry."""
        super().fetch(replace(descriptor, data=None))


@mutant(
    "ignores-embedded-data",
    area="blob",
    kills={
        "incident/config-is-embedded-and-missing",
    },
)
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


@mutant(
    "allocates-stated-sizes",
    area="blob",
    kills={
        "incident/layer-size-of-exabytes",
    },
)
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
    kills={
        "incident/foreign-layer-only-at-its-url",
    },
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


@mutant(
    "mirrors-400-is-final",
    area="hosts",
    kills={
        "incident/mirror-rejects-an-unknown-query",
        "incident/mirror-says-manifest-invalid",
        "incident/mirror-says-name-invalid",
    },
)
class Mirrors400IsFinal(Puller):
    """Ends where a mirror calls the manifest invalid."""

    remote = _FinalBadRequest
