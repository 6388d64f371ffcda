"""An index: manifests of several platforms under one name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from .descriptors import (
    Algorithm,
    Descriptor,
    Document,
    Object,
    RawDescriptor,
    digest_of,
    merged,
)
from .image import (
    ABOUT,
    Edit,
    ImageSpec,
    Subject,
    an_attestation,
    filled,
    subject_descriptor,
)
from .mediatypes import DOCKER_LIST, OCI_INDEX

Child: TypeAlias = "ImageSpec | IndexSpec | RawDescriptor"


@dataclass(frozen=True)
class IndexSpec:
    """An index (OCI) or manifest list (Docker). Frozen: change it with ``replace``.

    ``artifact_type``, ``subject`` and ``manifest_size`` are those of :class:`ImageSpec`, as are the
    lies: ``declared``, ``edit``, ``raw_index``, ``content_type``.
    """

    manifests: "tuple[Child, ...]" = ()
    docker: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    declared: Mapping[str, Any] = field(default_factory=dict, hash=False)
    edit: Edit | None = None
    artifact_type: str | None = None
    subject: Subject | None = None
    manifest_size: int | None = None
    algorithm: Algorithm = "sha256"
    raw_index: bytes | None = field(default=None, repr=False)
    content_type: str | None = None

    @cached_property
    def index(self) -> bytes:
        """The index's bytes."""
        if self.raw_index is not None:
            return self.raw_index
        document: Document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_LIST if self.docker else OCI_INDEX,
        }
        if self.artifact_type is not None:
            document["artifactType"] = self.artifact_type
        document["manifests"] = [child.descriptor for child in self.manifests]
        if self.subject is not None:
            document["subject"] = subject_descriptor(self.subject)
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.edit is not None:
            document = self.edit(document) or document
        return filled(document, self.manifest_size)

    @property
    def manifest(self) -> bytes:
        """The index's bytes, by the name that all specs share."""
        return self.index

    @property
    def media_type(self) -> str:
        """The type under which the registry serves it."""
        if self.content_type is not None:
            return self.content_type
        return DOCKER_LIST if self.docker else OCI_INDEX

    @property
    def size(self) -> int:
        """Length of the index in bytes."""
        return len(self.index)

    @cached_property
    def digest(self) -> str:
        """The digest of the index."""
        return digest_of(self.index, self.algorithm)

    @property
    def descriptor(self) -> Descriptor:
        """Its descriptor in another index: nested ones carry no platform."""
        honest = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return Descriptor(merged(honest, self.declared))

    @property
    def images(self) -> tuple[ImageSpec, ...]:
        """All images in it, those of nested indexes too, in order."""
        found: list[ImageSpec] = []
        for child in self.manifests:
            if isinstance(child, ImageSpec):
                found.append(child)
            elif isinstance(child, IndexSpec):
                found.extend(child.images)
        return tuple(found)

    def image(self, platform: str) -> ImageSpec:
        """The first image whose platform is written so, and that needs no features beside it.

        ``KeyError`` names those there are.
        """
        for image in self.images:
            if image.platform == platform and not image.os_features:
                return image
        there = ", ".join(image.platform for image in self.images) or "none"
        raise KeyError(f"no image for {platform} in the index (there: {there})")

    def objects(self) -> Iterator[Object]:
        """All that the registry stores for it: what the children need, then the index."""
        seen: set[str] = set()
        for child in self.manifests:
            if isinstance(child, RawDescriptor):
                raw = child.object()
                stored = iter(() if raw is None else (raw,))
            else:
                stored = child.objects()
            for item in stored:
                if item.digest not in seen:
                    seen.add(item.digest)
                    yield item
        yield Object("manifest", self.digest, self.media_type, self.index, "index")

    def salted(self, salt: str) -> "IndexSpec":
        """The same index over salted images; raw descriptors stay as they are."""
        if not salt:
            return self
        children = [
            child if isinstance(child, RawDescriptor) else child.salted(salt)
            for child in self.manifests
        ]
        by_old_digest = {
            old.digest: new
            for old, new in zip(self.manifests, children, strict=True)
            if isinstance(old, ImageSpec) and isinstance(new, ImageSpec)
        }
        subject = None if self.subject is None else self.subject.salted(salt)
        manifests = tuple(_about_new(child, by_old_digest) for child in children)
        return replace(self, manifests=manifests, subject=subject)


def _about_new(child: Child, by_old_digest: Mapping[str, ImageSpec]) -> Child:
    # Salt gives an image another digest: an attestation has to be about the new one.
    if not isinstance(child, ImageSpec):
        return child
    about = child.declared.get("annotations", {}).get(ABOUT)
    return an_attestation(by_old_digest[about]) if about in by_old_digest else child


def an_index(
    *manifests: ImageSpec | IndexSpec | RawDescriptor, docker: bool = False, **overrides: Any
) -> IndexSpec:
    """An index over the given manifests, in that order. ``overrides``: fields of IndexSpec."""
    return IndexSpec(manifests=tuple(manifests), docker=docker, **overrides)
