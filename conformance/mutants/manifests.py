"""Mutants that take another document for the manifest than they were promised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.mutate import mutant
from reference.config import Config, Request
from reference.descriptors import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
)
from reference.errors import (
    AuthorizationFailed,
    BodyError,
    ManifestError,
    NotFound,
    RegistryError,
    SizeMismatch,
)
from reference.fetch import Fetcher
from reference.hosts import Host
from reference.local import Found
from reference.manifests import Index, Manifest, Manifests
from reference.names import Name
from reference.platforms import PlatformMatcher
from reference.progress import Cancellation
from reference.pull import Pulled, Puller
from reference.resolve import Resolved, Resolver
from reference.store import Ingest, Store
from reference.transport import Answer, Ask

_DOCUMENTS = INDEX_TYPES | MANIFEST_TYPES


# What is believed.


class _UnhashedManifests(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """The registry has said so."""
        if descriptor.media_type not in _DOCUMENTS:
            super().verify_digest(descriptor, actual)


@mutant(
    "unhashed-manifests",
    area="manifests",
    kills={
        "incident/digest-brings-another-manifest",
        "manifests/by-digest-must-match",
        "manifests/header-digest-must-match",
    },
)
class UnhashedManifests(Puller):
    """Hashes blobs, and believes the registry about manifests."""

    store = _UnhashedManifests


class _GetsTheTag(Resolver):
    def at(self, host: Host, name: Name, *, last: bool) -> Resolved:
        """The digest of one answer, and the document of the next."""
        resolved = super().at(host, name, last=last)
        with self.ask(host, "GET", name, last=last) as answer:
            body = answer.read(self.config.max_manifest_size)
        return Resolved(replace(resolved.descriptor, size=len(body)), body)


@mutant(
    "head-then-get-by-tag",
    area="manifests",
    kills={
        "incident/digest-header-of-another-document",
        "manifests/by-digest-must-match",
        "manifests/header-digest-must-match",
        "manifests/order-of-requests",
        "manifests/tag-moves-in-mid-pull",
    },
)
class HeadThenGetByTag(Puller):
    """Stores what a tag gives under the digest that an earlier answer told."""

    resolver = _GetsTheTag
    store = _UnhashedManifests


class _NeedsDigest(Resolver):
    def digest_header(self, answer: Answer) -> str | None:
        """No digest, no pull."""
        digest = super().digest_header(answer)
        if digest is None:
            raise ManifestError("no Docker-Content-Digest")
        return digest


@mutant(
    "needs-digest-header",
    area="manifests",
    kills={"incident/no-digest-header", "manifests/missing-digest-header"},
)
class NeedsDigestHeader(Puller):
    """Refuses a registry that doesn't tell the digest in a header."""

    resolver = _NeedsDigest


class _HeadOnly(Resolver):
    def ask(self, host: Host, method: str, name: Name, *, last: bool) -> Answer:
        """A refusal of HEAD is a refusal."""
        answer = super().ask(host, method, name, last=last)
        if method == "HEAD" and answer.ask.method == "GET":
            answer.close()
            raise RegistryError("HEAD", status=405, host=host.authority)
        return answer


@mutant(
    "no-get-after-405",
    area="manifests",
    kills={"incident/signed-url-is-for-get-alone", "manifests/head-refused"},
)
class NoGetAfter405(Puller):
    """Gives up where HEAD isn't allowed, by the registry or by a signed URL."""

    resolver = _HeadOnly


class _WholeType(Resolver):
    def media_type(self, answer: Answer) -> str:
        """The header as it stands."""
        return str(answer.headers.get("content-type", "")).lower()


@mutant(
    "parameters-are-type",
    area=("manifests", "indexes"),
    kills={
        "incident/charset-in-manifest-type",
        "incident/manifest-type-in-upper-case",
        "indexes/content-type-with-parameter",
        "manifests/content-type-in-upper-case",
        "manifests/content-type-with-parameter",
    },
)
class ParametersAreType(Puller):
    """Takes the parameters of a Content-Type for a part of the type."""

    resolver = _WholeType


class _CutType(Resolver):
    def media_type(self, answer: Answer) -> str:
        """The header up to its semicolon, as it is written."""
        return str(answer.headers.get("content-type", "")).partition(";")[0]


@mutant(
    "type-to-the-letter",
    area="manifests",
    kills={
        "incident/manifest-type-in-upper-case",
        "manifests/content-type-in-upper-case",
    },
)
class TypeToTheLetter(Puller):
    """Compares media types letter by letter, blanks included, as containerd does."""

    resolver = _CutType


class _GuessesType(Resolver):
    def media_type(self, answer: Answer) -> str:
        """Most are that."""
        return super().media_type(answer) or OCI_MANIFEST


@mutant("guesses-type", area="manifests", kills={"manifests/without-content-type"})
class GuessesType(Puller):
    """Takes a manifest without Content-Type for an OCI one."""

    resolver = _GuessesType


class _HeedsWarnings(Resolver):
    def ask(self, host: Host, method: str, name: Name, *, last: bool) -> Answer:
        """A warned puller pulls no more."""
        answer = super().ask(host, method, name, last=last)
        if "warning" in answer.headers:
            answer.close()
            raise ManifestError(str(answer.headers["warning"]))
        return answer


@mutant("heeds-warnings", area="manifests", kills={"manifests/warnings-change-nothing"})
class HeedsWarnings(Puller):
    """Pulls nothing from a registry that warns."""

    resolver = _HeedsWarnings


# What is asked.


class _OtherTag(Resolver):
    def at(self, host: Host, name: Name, *, last: bool) -> Resolved:
        """Any version is better than none."""
        try:
            return super().at(host, name, last=last)
        except NotFound:
            return super().at(host, replace(name, tag="v1"), last=last)


@mutant("takes-another-tag", area="manifests", kills={"manifests/unknown-tag-is-refused"})
class TakesAnotherTag(Puller):
    """Pulls another tag where the one asked for isn't there."""

    resolver = _OtherTag


@mutant(
    "denied-is-done",
    area="manifests",
    kills={
        "incident/missing-repository-is-403",
        "manifests/forbidden-is-refused",
    },
)
class DeniedIsDone(Puller):
    """Reports success where access was denied."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """What can't be had isn't missed."""
        try:
            return super().pull(request, cancellation=cancellation)
        except AuthorizationFailed:
            nothing = Descriptor(OCI_MANIFEST, "sha256:" + "0" * 64, 0)
            return Pulled(request.image, "", "", nothing, request.image, "")


class _AsksFirst(Resolver):
    path = ""

    def at(self, host: Host, name: Name, *, last: bool) -> Resolved:
        """Only a registry that answers this one is a registry."""
        path = self.path.format(name=name.path)
        url = f"{host.scheme}://{host.authority}{host.path}/{path}"
        with self.remote.transport.send(Ask("GET", url, {})) as answer:
            if answer.status != 200:
                raise RegistryError(url, status=answer.status, host=host.authority)
        return super().at(host, name, last=last)


@mutant(
    "needs-base-endpoint",
    area="manifests",
    kills={
        "incident/foreign-layer-only-at-its-url",
        "manifests/no-base-endpoint",
    },
)
class NeedsBaseEndpoint(Puller):
    """Gives up where GET /v2/ isn't answered by 200, as many pullers do."""

    resolver = _AsksFirst


class _ListsTags(_AsksFirst):
    path = "{name}/tags/list"


@mutant(
    "needs-tags-list",
    area="manifests",
    kills={
        "incident/foreign-layer-only-at-its-url",
        "manifests/pull-category-suffices",
    },
)
class NeedsTagsList(Puller):
    """Looks a tag up in the list of tags, which a registry need not have."""

    resolver = _ListsTags


class _GetOnly(Resolver):
    def at(self, host: Host, name: Name, *, last: bool) -> Resolved:
        """One request instead of two."""
        with self.ask(host, "GET", name, last=last) as answer:
            return self.read(answer, name)


@mutant(
    "get-only",
    area="manifests",
    kills={
        "incident/tag-answers-and-digest-is-unknown",
        "manifests/order-of-requests",
    },
)
class GetOnly(Puller):
    """Resolves by GET, without HEAD: allowed, and to be seen."""

    resolver = _GetOnly


class _AcceptsAnything(Resolver):
    def ask(self, host: Host, method: str, name: Name, *, last: bool) -> Answer:
        """Whatever the registry likes best."""
        return self.remote.ask(host, method, "manifests", name.object, accept="*/*", last=last)


@mutant(
    "accepts-anything",
    area="manifests",
    kills={
        "incident/head-of-a-list-is-an-image",
        "incident/oldest-type-without-accept",
        "manifests/accept-names-known-types",
    },
)
class AcceptsAnything(Puller):
    """Doesn't say which types of manifests it knows."""

    resolver = _AcceptsAnything


# How a document is read.


@mutant(
    "unreadable-is-empty",
    area="manifests",
    kills={
        "incident/artifact-with-empty-config",
        "incident/first-layer-is-no-chart",
        "incident/index-nested-fifty-deep",
        "manifests/ambiguous-is-refused",
        "manifests/bytes-after-json-are-refused",
        "manifests/docker-inside-oci-is-refused",
        "manifests/index-inside-is-refused",
        "manifests/invalid-json-is-refused",
        "manifests/login-page-is-refused",
        "manifests/schema-1-keys-inside",
    },
)
class UnreadableIsEmpty(Puller):
    """Takes a document that it can't read for an image without content."""

    def fetched(self, resolved: Resolved, matcher: PlatformMatcher, fetcher: Fetcher) -> Found:
        """Nothing read, nothing missing."""
        try:
            return super().fetched(resolved, matcher, fetcher)
        except ManifestError:
            if not resolved.descriptor.media_type:
                raise
            document = {"rootfs": {"type": "layers", "diff_ids": []}}
            config = self.content.put(OCI_CONFIG, json.dumps(document).encode())
            return Found(resolved.descriptor, resolved.descriptor, Manifest(config, ()))


class _FirstDocument(Manifests):
    def parse(self, data: bytes, digest: str) -> dict[str, Any]:
        """Up to the end of the first value."""
        try:
            document, _ = json.JSONDecoder().raw_decode(data.decode())
        except ValueError:
            return super().parse(data, digest)
        return dict(document)


@mutant(
    "stops-at-first-document",
    area="manifests",
    kills={"manifests/bytes-after-json-are-refused"},
)
class StopsAtFirstDocument(Puller):
    """Reads JSON until it is complete, and never looks at what follows."""

    manifests = _FirstDocument


class _Unsuspecting(Manifests):
    def check_unambiguous(self, document: Mapping[str, Any], descriptor: Descriptor) -> None:
        """What isn't needed isn't looked at."""


@mutant(
    "two-in-one",
    area=("manifests", "indexes"),
    kills={
        "incident/manifest-is-also-an-index",
        "indexes/ambiguous-is-refused",
        "manifests/ambiguous-is-refused",
        "manifests/schema-1-keys-inside",
    },
)
class TwoInOne(Puller):
    """Takes from a document what it needs, whatever else it may be for others."""

    manifests = _Unsuspecting


class _TrustsHeader(Manifests):
    def check_media_type(self, document: Mapping[str, Any], descriptor: Descriptor) -> None:
        """The header knows."""


@mutant(
    "trusts-content-type",
    area="manifests",
    kills={"manifests/docker-inside-oci-is-refused", "manifests/index-inside-is-refused"},
)
class TrustsContentType(Puller):
    """Never reads what a document says of itself."""

    manifests = _TrustsHeader


class _KindsOnly(Manifests):
    def check_media_type(self, document: Mapping[str, Any], descriptor: Descriptor) -> None:
        """An index is an index, whoever's."""
        kinds = (INDEX_TYPES, MANIFEST_TYPES)
        inside = document.get("mediaType")
        if not any(inside in kind and descriptor.media_type in kind for kind in kinds):
            super().check_media_type(document, descriptor)


@mutant("docker-is-oci", area="manifests", kills={"manifests/docker-inside-oci-is-refused"})
class DockerIsOci(Puller):
    """Tells manifests from indexes only, as containerd does."""

    manifests = _KindsOnly


class _Pedantic(Manifests):
    def read(self, data: bytes, descriptor: Descriptor) -> Index | Manifest:
        """What isn't known isn't right."""
        known = {"schemaVersion", "mediaType", "config", "layers", "manifests", "annotations"}
        if set(self.parse(data, descriptor.digest)) - known:
            raise ManifestError(f"{descriptor.digest}: unknown properties")
        return super().read(data, descriptor)


@mutant(
    "refuses-unknown-properties",
    area="manifests",
    kills={"manifests/unknown-properties-are-ignored"},
)
class RefusesUnknownProperties(Puller):
    """Refuses a manifest with a property that it doesn't know."""

    manifests = _Pedantic


class _NeedsLayers(Manifests):
    def image(self, document: Mapping[str, Any], descriptor: Descriptor) -> Manifest:
        """Of nothing comes nothing."""
        found = super().image(document, descriptor)
        if not found.layers:
            raise ManifestError(f"{descriptor.digest} has no layers")
        return found


@mutant("needs-layers", area="manifests", kills={"manifests/no-layers"})
class NeedsLayers(Puller):
    """Refuses an image without layers."""

    manifests = _NeedsLayers


# How much is read.


@mutant(
    "one-megabyte",
    area="manifests",
    kills={
        "incident/manifest-of-four-megabytes",
        "manifests/four-megabytes",
    },
)
class OneMegabyte(Puller):
    """Refuses manifests of more than one megabyte."""

    def __init__(self, config: Config, root: Path) -> None:
        super().__init__(replace(config, max_manifest_size=1 << 20), root)


class _ToTheEnd(Fetcher):
    def copy(self, answer: Answer, descriptor: Descriptor, ingest: Ingest) -> None:
        """Only at its end a body shows how long it is."""
        if descriptor.media_type not in _DOCUMENTS:
            super().copy(answer, descriptor, ingest)
            return
        _drained(answer, ingest)


def _drained(answer: Answer, ingest: Ingest) -> None:
    try:
        for chunk in answer.chunks():
            ingest.write(chunk[: ingest.remaining])
    except BodyError as error:
        raise SizeMismatch(str(error)) from None


@mutant(
    "reads-manifests-whole",
    area="manifests",
    kills={
        "incident/manifest-without-end",
        "manifests/endless-is-given-up",
    },
)
class ReadsManifestsWhole(Puller):
    """Reads a manifest to its end before looking at its size."""

    fetcher = _ToTheEnd


class _HashesAll(Resolver):
    def read(self, answer: Answer, name: Name) -> Resolved:
        """The digest is over all of it."""
        generous = type(self)(replace(self.config, max_manifest_size=1 << 40), self.remote)
        return Resolver.read(generous, answer, name)


@mutant(
    "hashes-without-end",
    area="manifests",
    kills={"manifests/endless-without-digest-is-given-up"},
)
class HashesWithoutEnd(Puller):
    """Reads whatever comes for the sake of its digest, as containerd does."""

    resolver = _HashesAll


@mutant("believes-the-head", area="manifests", kills={"incident/head-and-get-disagree"})
class BelievesTheHead(Puller):
    """Takes the length that a HEAD stated for the manifest's, and refuses what has another one."""

    def is_misstated(self, resolved: Resolved, fetcher: Fetcher) -> bool:
        """Somebody said so."""
        return False
