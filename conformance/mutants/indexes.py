"""Mutants that choose the wrong entry of an index, or read an index that they should refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from conformance.mutate import mutant
from reference.config import Request
from reference.descriptors import INDEX_TYPES, MANIFEST_TYPES, OCI_CONFIG, OCI_MANIFEST, Descriptor
from reference.errors import ManifestError, NoMatchingPlatform, NotFound
from reference.fetch import Fetcher
from reference.hosts import Host, Hosts
from reference.local import Found
from reference.manifests import Index, Manifest, Manifests
from reference.names import Name
from reference.platforms import Platform, PlatformMatcher
from reference.progress import Cancellation
from reference.pull import Pulled, Puller
from reference.resolve import Resolved
from reference.store import Store
from reference.transport import Answer


class _First(PlatformMatcher):
    def rank(self, platform: Platform) -> int | None:
        """All are good."""
        return 0


@mutant(
    "takes-first-entry",
    area="indexes",
    kills={
        "incident/amd64-in-three-variants",
        "incident/arm-v7-before-v6",
        "incident/attestation-stands-first",
        "incident/index-in-an-index",
        "incident/index-of-two-hundred",
        "incident/two-images-for-one-platform",
        "indexes/attestations-are-skipped",
        "indexes/docker-manifest-list",
        "indexes/features-are-needed",
        "indexes/first-variant-is-taken",
        "indexes/greater-variant-is-not-taken",
        "indexes/nested-is-followed",
        "indexes/right-platform",
    },
)
class TakesFirstEntry(Puller):
    """Takes the first entry, whatever it is for."""

    platforms = _First


class _AnyIfNone(PlatformMatcher):
    def choose(self, entries: Iterable[Descriptor], where: str) -> Descriptor:
        """Something is better than nothing."""
        found = tuple(entries)
        try:
            return super().choose(found, where)
        except NoMatchingPlatform:
            if not found:
                raise
            return found[0]


@mutant("any-if-none-fits", area="indexes", kills={"indexes/no-match-is-refused"})
class AnyIfNoneFits(Puller):
    """Takes another platform's image where there is none for the wanted one."""

    platforms = _AnyIfNone


class _Last(PlatformMatcher):
    def candidates(self, entries: Iterable[Descriptor]) -> list[Descriptor]:
        """The newest stands last."""
        return super().candidates(list(entries)[::-1])


@mutant(
    "takes-last-of-equals",
    area="indexes",
    kills={
        "incident/two-images-for-one-platform",
        "indexes/first-of-equals",
        "indexes/second-of-equals",
    },
)
class TakesLastOfEquals(Puller):
    """Of several entries that fit takes the last."""

    platforms = _Last


class _Attests(PlatformMatcher):
    def rank(self, platform: Platform) -> int | None:
        """Unknown may be anything."""
        return 0 if platform.os == "unknown" else super().rank(platform)


@mutant(
    "takes-attestations",
    area="indexes",
    kills={
        "incident/attestation-stands-first",
        "indexes/attestations-are-skipped",
    },
)
class TakesAttestations(Puller):
    """Takes an entry for 'unknown/unknown' to be for everybody."""

    platforms = _Attests


class _AnyVariant(PlatformMatcher):
    def rank(self, platform: Platform) -> int | None:
        """amd64 is amd64."""
        return super().rank(replace(platform, variant=""))


@mutant(
    "ignores-variants",
    area="indexes",
    kills={
        "incident/amd64-in-three-variants",
        "incident/arm-v7-before-v6",
        "indexes/first-variant-is-taken",
        "indexes/greater-variant-is-not-taken",
    },
)
class IgnoresVariants(Puller):
    """Never looks at a platform's variant, as crane does."""

    platforms = _AnyVariant


class _NoVariant(PlatformMatcher):
    def candidates(self, entries: Iterable[Descriptor]) -> list[Descriptor]:
        """To the letter: no variant was asked for."""
        return super().candidates(
            entry for entry in entries if not (entry.platform or {}).get("variant")
        )


@mutant(
    "refuses-variants",
    area="indexes",
    kills={
        "incident/arm-v7-before-v6",
        "indexes/first-variant-is-taken",
    },
)
class RefusesVariants(Puller):
    """Takes no entry with a variant where none was asked for, as older skopeo does."""

    platforms = _NoVariant


class _Featureless(PlatformMatcher):
    def rank(self, platform: Platform) -> int | None:
        """They will be there."""
        return super().rank(replace(platform, features=frozenset()))


@mutant("ignores-features", area="indexes", kills={"indexes/features-are-needed"})
class IgnoresFeatures(Puller):
    """Never looks at the features that an entry needs."""

    platforms = _Featureless


class _AnyType(PlatformMatcher):
    def candidates(self, entries: Iterable[Descriptor]) -> list[Descriptor]:
        """Types are looked at when an entry is read."""
        entries = list(entries)
        original = {entry.digest: entry for entry in entries}
        fits = super().candidates(
            entry
            if entry.platform is None or entry.media_type in INDEX_TYPES
            else replace(entry, media_type=OCI_MANIFEST)
            for entry in entries
        )
        return [original[entry.digest] for entry in fits]


@mutant("chooses-unknown-types", area="indexes", kills={"indexes/unknown-type-first"})
class ChoosesUnknownTypes(Puller):
    """Chooses by platform alone, an entry of unknown type too."""

    platforms = _AnyType


class _KnownOnly(Manifests):
    def entries(
        self, document: Mapping[str, Any], descriptor: Descriptor
    ) -> tuple[Descriptor, ...]:
        """What isn't known can't be right."""
        found = super().entries(document, descriptor)
        for entry in found:
            self.check_known(entry)
        return found


@mutant(
    "refuses-unknown-types",
    area="indexes",
    kills={"indexes/unknown-type-first", "indexes/unknown-type-without-platform"},
)
class RefusesUnknownTypes(Puller):
    """Refuses an index with an entry of a type that it doesn't know."""

    manifests = _KnownOnly


class _OciOnly(Manifests):
    def check_known(self, descriptor: Descriptor) -> None:
        """One format is enough."""
        super().check_known(descriptor)
        if descriptor.media_type in INDEX_TYPES and "docker" in descriptor.media_type:
            raise ManifestError("a Docker manifest list")


@mutant("no-manifest-lists", area="indexes", kills={"indexes/docker-manifest-list"})
class NoManifestLists(Puller):
    """Reads OCI indexes, and not Docker's lists."""

    manifests = _OciOnly


class _Flat(Manifests):
    def entries(
        self, document: Mapping[str, Any], descriptor: Descriptor
    ) -> tuple[Descriptor, ...]:
        """An index lists images."""
        found = super().entries(document, descriptor)
        return tuple(entry for entry in found if entry.media_type not in INDEX_TYPES)


@mutant(
    "no-nested-indexes",
    area="indexes",
    kills={
        "incident/index-in-an-index",
        "indexes/nested-is-followed",
    },
)
class NoNestedIndexes(Puller):
    """Passes over an index in an index."""

    manifests = _Flat


@mutant(
    "every-way-down",
    area="indexes",
    kills={"indexes/deep-nesting-ends"},
)
class EveryWayDown(Puller):
    """Goes every way through nested indexes, and fetches each of them every time."""

    def find(
        self,
        target: Descriptor,
        matcher: PlatformMatcher,
        read: Callable[[Descriptor], bytes],
    ) -> Found:
        """The first of all that are found."""
        found: list[Found] = []
        waiting = [target]
        while waiting:
            descriptor = waiting.pop()
            self.content.delete(descriptor.digest)
            document = self.manifests().read(read(descriptor), descriptor)
            if isinstance(document, Manifest):
                found.append(Found(target, descriptor, document))
            else:
                matcher.choose(document.entries, descriptor.digest)
                waiting += matcher.candidates(document.entries)[1::-1]
        return found[0]


@mutant("empty-index-is-an-image", area="indexes", kills={"indexes/empty-is-refused"})
class EmptyIndexIsAnImage(Puller):
    """Takes an index without entries for an image without content."""

    def find(
        self,
        target: Descriptor,
        matcher: PlatformMatcher,
        read: Callable[[Descriptor], bytes],
    ) -> Found:
        """Nothing to do is soon done."""
        document = self.manifests().read(read(target), target)
        if isinstance(document, Index) and not document.entries:
            nothing = b'{"rootfs": {"type": "layers", "diff_ids": []}}'
            config = self.content.put(OCI_CONFIG, nothing)
            return Found(target, target, Manifest(config, ()))
        return super().find(target, matcher, read)


@mutant("by-tag-only", area="indexes", kills={"indexes/child-by-its-digest"})
class ByTagOnly(Puller):
    """Pulls nothing by digest."""

    def deciding(self, hosts: Hosts, candidates: tuple[Host, ...], name: Name) -> tuple[Host, ...]:
        """What has no tag can't be asked for."""
        if name.digest:
            raise NotFound(name.digest, status=404, host=name.domain)
        return super().deciding(hosts, candidates, name)


class _UnhashedChildren(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """The index was hashed: that will do."""
        if descriptor.media_type not in MANIFEST_TYPES:
            super().verify_digest(descriptor, actual)


@mutant("unhashed-children", area="indexes", kills={"indexes/wrong-child-is-refused"})
class UnhashedChildren(Puller):
    """Hashes an index, and believes the registry about what it lists."""

    store = _UnhashedChildren


class _SizelessStore(Store):
    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        """The digest will tell."""
        if descriptor.media_type not in MANIFEST_TYPES:
            super().verify_size(descriptor, actual)


class _SizelessFetcher(Fetcher):
    def check_promise(self, answer: Answer, descriptor: Descriptor) -> None:
        """Whatever the length."""
        if descriptor.media_type not in MANIFEST_TYPES:
            super().check_promise(answer, descriptor)


@mutant("sizeless-manifests", area="indexes", kills={"indexes/wrong-size-of-child-is-refused"})
class SizelessManifests(Puller):
    """Never compares a manifest's length with the size that its entry states."""

    store = _SizelessStore
    fetcher = _SizelessFetcher


@mutant("asked-is-the-image", area="indexes", kills={"incident/index-by-its-digest"})
class AskedIsTheImage(Puller):
    """Compares the digest that was asked for with that of the chosen image, as CRI-O 1.11 did."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """Remember what was asked for."""
        self.asked = request.image.partition("@")[2]
        return super().pull(request, cancellation=cancellation)

    def fetched(self, resolved: Resolved, matcher: PlatformMatcher, fetcher: Fetcher) -> Found:
        """Choose, and compare."""
        found = super().fetched(resolved, matcher, fetcher)
        if self.asked not in ("", found.descriptor.digest):
            raise ManifestError("the manifest's digest would not match the destination reference")
        return found
