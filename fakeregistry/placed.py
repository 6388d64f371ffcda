"""A placed image: a specification at a name and a tag of one registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .content import ImageSpec, IndexSpec, Layer, Schema1Spec, Spec
from .content.descriptors import Descriptor

if TYPE_CHECKING:
    from .registry import Registry


class HasManifest(Protocol):
    """An image or index: something with a manifest."""

    @property
    def manifest(self) -> bytes:
        """The bytes of the manifest or index."""
        ...


@dataclass(frozen=True)
class Image:
    """What `Registry.add` returns: how a user types it, and what it is made of.

    Works as a target's argument: `manifest(image)`, `config(image)`, `blob(image.layers[0])`.
    """

    registry: Registry
    spec: Spec
    repository: str
    tag: str | None

    def __repr__(self) -> str:
        return f"<Image {self.reference} {self.digest[:19]}>"

    @property
    def host(self) -> str:
        """Host and port of the registry, as they stand in a reference."""
        return self.registry.host

    @property
    def name(self) -> str:
        """The reference without its tag: `127.0.0.1:41234/app/web`."""
        return f"{self.host}/{self.repository}"

    @property
    def reference(self) -> str:
        """The reference by tag: `127.0.0.1:41234/app/web:v1`; without one, by digest."""
        return self.by_digest if self.tag is None else f"{self.name}:{self.tag}"

    @property
    def by_digest(self) -> str:
        """The reference by digest: `127.0.0.1:41234/app/web@sha256:…`."""
        return f"{self.name}@{self.digest}"

    @property
    def digest(self) -> str:
        """The digest of the manifest or index."""
        return self.spec.digest

    @property
    def media_type(self) -> str:
        """The media type of the manifest or index."""
        return self.spec.media_type

    @property
    def manifest(self) -> bytes:
        """The bytes of the manifest or index."""
        return self.spec.manifest

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of an image; an index has none of its own: see `image`."""
        if isinstance(self.spec, IndexSpec):
            raise TypeError("an index has no layers: choose one of its images by .image(platform)")
        return self.spec.layers

    @property
    def config(self) -> Descriptor:
        """The descriptor of the configuration."""
        return self._image.config_descriptor

    @property
    def config_descriptor(self) -> Descriptor:
        """The descriptor of the configuration."""
        return self._image.config_descriptor

    @property
    def image_id(self) -> str:
        """The image id: the digest of the configuration."""
        return self._image.image_id

    @property
    def _image(self) -> ImageSpec:
        if not isinstance(self.spec, ImageSpec):
            raise TypeError(f"{type(self.spec).__name__} has no configuration of its own")
        return self.spec

    def image(self, platform: str) -> ImageSpec:
        """Return the image of an index for a platform (`os/architecture[/variant]`)."""
        if isinstance(self.spec, IndexSpec):
            return self.spec.image(platform)
        return self._image


def layers_of(spec: Spec) -> tuple[Layer, ...]:
    """Return every layer in a specification, those of all images of an index."""
    if isinstance(spec, IndexSpec):
        return tuple(layer for image in spec.images for layer in image.layers)
    return spec.layers


__all__ = ["Image", "Schema1Spec", "Spec", "layers_of"]
