"""Mutants that call an image by other names than its own, or lose one that was there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from conformance.mutate import mutant
from reference.config import Request
from reference.descriptors import Descriptor
from reference.errors import PullError
from reference.fetch import Fetcher
from reference.images import MANAGED, Image, ImageStore
from reference.local import Found
from reference.names import Name
from reference.platforms import PlatformMatcher
from reference.progress import Cancellation
from reference.pull import Pulled, Puller
from reference.resolve import Resolved

# The names of an image.


@mutant(
    "manifest-for-an-id",
    area="records",
    kills={"records/image-id-is-the-config-digest", "records/index-id-is-the-config-digest"},
)
class ManifestForAnId(Puller):
    """Answers with the digest of the manifest, where the image's id was asked for."""

    def record(self, name: Name, found: Found, rootfs: Path | None, *, schema1: bool) -> Pulled:
        """Record it right, and say it wrong."""
        pulled = super().record(name, found, rootfs, schema1=schema1)
        return replace(pulled, image_id=found.descriptor.digest)


@mutant(
    "no-repo-digest",
    area="records",
    kills={
        "records/tag-pull-records-three-names",
        "records/repo-digest-can-be-pulled-again",
        "records/moved-tag-leaves-the-old-image",
    },
)
class NoRepoDigest(Puller):
    """Knows what was pulled by tag by that tag and by its id alone."""

    def repo_digest(self, name: Name, target: Descriptor, *, schema1: bool) -> str:
        """Only what was asked for by digest has one."""
        return super().repo_digest(name, target, schema1=schema1) if name.digest else ""


@mutant(
    "config-for-a-repo-digest",
    area="records",
    kills={
        "records/tag-pull-records-three-names",
        "records/repo-digest-can-be-pulled-again",
        "records/moved-tag-leaves-the-old-image",
    },
)
class ConfigForARepoDigest(Puller):
    """Makes a repo digest of the image's id, by which no registry knows the image."""

    def record(self, name: Name, found: Found, rootfs: Path | None, *, schema1: bool) -> Pulled:
        """Put the id where the target's digest belongs."""
        pulled = super().record(name, found, rootfs, schema1=schema1)
        if name.tag and pulled.repo_digest:
            self.records.remove(pulled.repo_digest)
            self.records.put(f"{name.repository}@{pulled.image_id}", found.target)
        return pulled


@mutant("nameless-by-digest", area="records", kills={"records/digest-pull-has-no-tag"})
class NamelessByDigest(Puller):
    """Knows what was pulled by digest by its id alone."""

    def repo_digest(self, name: Name, target: Descriptor, *, schema1: bool) -> str:
        """Only what was asked for by tag has one."""
        return "" if name.digest else super().repo_digest(name, target, schema1=schema1)


# Tags that move.


class _StaysForEver(ImageStore):
    def merged(
        self, before: Image | None, name: str, target: Descriptor, labels: Mapping[str, str]
    ) -> Image:
        """What there is, is."""
        return before or super().merged(before, name, target, labels)


@mutant(
    "tags-never-move",
    area="records",
    kills={"records/moved-tag-names-the-new-image", "records/moved-tag-leaves-the-old-image"},
)
class TagsNeverMove(Puller):
    """Leaves a record as it is when its tag has moved, and says that it has pulled."""

    images = _StaysForEver


class _OneImageATag(ImageStore):
    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] = MANAGED) -> Image:
        """Whoever loses a name loses all."""
        before = self.get(name)
        if before is not None and before.target != target:
            for other in self.list():
                if other.target == before.target:
                    self.remove(other.name)
        return super().put(name, target, labels)


@mutant(
    "removes-what-lost-its-tag", area="records", kills={"records/moved-tag-leaves-the-old-image"}
)
class RemovesWhatLostItsTag(Puller):
    """Removes every record of an image when its tag moves to another."""

    images = _OneImageATag

    def record(self, name: Name, found: Found, rootfs: Path | None, *, schema1: bool) -> Pulled:
        """Clear the tag's name first."""
        if name.tag:
            self.records.put(str(name), found.target)
        return super().record(name, found, rootfs, schema1=schema1)


@mutant(
    "pulls-what-is-absent-only",
    area="records",
    kills={
        "incident/private-image-is-on-the-node",
        "records/moved-tag-leaves-the-old-image",
        "records/moved-tag-names-the-new-image",
        "records/second-pull-asks-again",
    },
)
class PullsWhatIsAbsentOnly(Puller):
    """Asks nobody when the reference has a record."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """Look at home first."""
        if self.status(request.image) is None:
            return super().pull(request, cancellation=cancellation)
        found = self.here(request.image, request.platform)
        return self.record(self.names().parse(request.image), found, None, schema1=False)


# What a failed pull leaves.


@mutant(
    "records-before-it-has",
    area="records",
    kills={
        "incident/layer-size-of-exabytes",
        "records/failed-pull-leaves-no-record",
        "records/refused-layer-leaves-the-old-image",
    },
)
class RecordsBeforeItHas(Puller):
    """Records an image as soon as its manifest is here."""

    def fetch_and_unpack(
        self, found: Found, matcher: PlatformMatcher, fetcher: Fetcher, request: Request
    ) -> Path | None:
        """The rest will come."""
        self.record(fetcher.remote.name, found, None, schema1=False)
        return super().fetch_and_unpack(found, matcher, fetcher, request)


@mutant(
    "records-what-it-resolved",
    area="records",
    kills={
        "incident/config-size-is-negative",
        "incident/layer-size-of-exabytes",
        "records/failed-pull-leaves-no-record",
        "records/index-without-a-match-leaves-no-record",
        "records/refused-index-leaves-the-old-image",
        "records/refused-layer-leaves-the-old-image",
    },
)
class RecordsWhatItResolved(Puller):
    """Lets the tag name what the registry says, before looking at it."""

    def fetched(self, resolved: Resolved, matcher: PlatformMatcher, fetcher: Fetcher) -> Found:
        """The registry knows best."""
        self.records.put(str(fetcher.remote.name), resolved.descriptor)
        return super().fetched(resolved, matcher, fetcher)


@mutant(
    "failure-removes-the-record",
    area="records",
    kills={
        "records/refused-layer-leaves-the-old-image",
        "records/refused-index-leaves-the-old-image",
        "records/removed-tag-leaves-the-old-image",
    },
)
class FailureRemovesTheRecord(Puller):
    """Cleans up after a failed pull, and takes the image along that was there before."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """All or nothing."""
        try:
            return super().pull(request, cancellation=cancellation)
        except PullError:
            self.remove(request.image)
            raise
