"""Manifests, indexes and configs: JSON that is refused where two readers could differ on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reference.compat import Quirks
from reference.descriptors import (
    CONFIG_TYPES,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCTET_STREAM,
    Descriptor,
    check_digest,
    is_layer_type,
)
from reference.errors import (
    AmbiguousManifest,
    InvalidDescriptor,
    ManifestError,
    UnsupportedMediaType,
)


@dataclass(frozen=True)
class Index:
    """A list of manifests (or further indexes), in the order of the document."""

    entries: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Manifest:
    """One image: its config and its layers, the lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    others: tuple[Descriptor, ...] = ()
    """What is stored with the image and is none of its layers."""

    @property
    def content(self) -> tuple[Descriptor, ...]:
        """All that the manifest names."""
        return (self.config, *self.layers, *self.others)


@dataclass(frozen=True)
class ImageConfig:
    """What a pull needs of an image's config."""

    platform: Mapping[str, Any]
    diff_ids: tuple[str, ...]


class Manifests:
    """Reads the documents of an image."""

    quirks = Quirks()

    def read(self, data: bytes, descriptor: Descriptor) -> Index | Manifest:
        """The document of `descriptor`; its media type says what it has to be."""
        self.check_known(descriptor)
        document = self.parse(data, descriptor.digest)
        self.check_media_type(document, descriptor)
        self.check_unambiguous(document, descriptor)
        if document.get("schemaVersion", 2) != 2 and not self.quirks.inner_types_ignored:
            raise ManifestError(f"{descriptor.digest} has a schemaVersion other than 2")
        if descriptor.media_type in INDEX_TYPES:
            return Index(self.entries(document, descriptor))
        return self.image(document, descriptor)

    def check_known(self, descriptor: Descriptor) -> None:
        """Only an index or a manifest can be read as one; nothing is guessed (MAN-14, MAN-16)."""
        if descriptor.media_type not in INDEX_TYPES | MANIFEST_TYPES:
            raise UnsupportedMediaType(
                f"{descriptor.digest} has the media type {descriptor.media_type or '(none)'}: "
                "neither an image manifest nor an index"
            )

    def parse(self, data: bytes, digest: str) -> dict[str, Any]:
        """Read JSON; an object, and no name twice in any object of it.

        It has to be in UTF-8 and begin with itself (RFC 8259, 8.1): Python would take UTF-16, or a
        byte order mark, where Go and others take neither.
        """
        try:
            # The history of schema 1 is JSON in JSON, and text already.
            text = data.decode() if isinstance(data, bytes) else data
            document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        except AmbiguousManifest as error:
            raise AmbiguousManifest(f"{digest} {error}") from None
        except (ValueError, RecursionError):
            raise ManifestError(f"{digest} is not JSON") from None
        if not isinstance(document, dict):
            raise ManifestError(f"{digest} is not a JSON object")
        return document

    def check_media_type(self, document: Mapping[str, Any], descriptor: Descriptor) -> None:
        """The type inside the document must be the one it was served as (MAN-17)."""
        inside = document.get("mediaType")
        foreign = MANIFEST_TYPES if descriptor.media_type in INDEX_TYPES else INDEX_TYPES
        if self.quirks.inner_types_ignored and inside not in tuple(foreign):  # it may be a list
            return
        if inside not in (None, "", descriptor.media_type):
            raise AmbiguousManifest(
                f"{descriptor.digest} was served as {descriptor.media_type} but says it is {inside}"
            )

    def check_unambiguous(self, document: Mapping[str, Any], descriptor: Descriptor) -> None:
        """A document must be one thing only, whoever reads it (CVE-2021-41190, MAN-18, MAN-19)."""
        if descriptor.media_type in INDEX_TYPES:
            foreign = document.keys() & {"config", "layers", "fsLayers"}
        else:
            foreign = document.keys() & {"manifests", "fsLayers"}
        if foreign:
            names = ", ".join(sorted(foreign))
            raise AmbiguousManifest(
                f"{descriptor.digest} is {descriptor.media_type} but has {names}"
            )

    def entries(
        self, document: Mapping[str, Any], descriptor: Descriptor
    ) -> tuple[Descriptor, ...]:
        """The descriptors of an index. A broken one is passed over: it can't be what is pulled."""
        found = []
        for entry in _list(document.get("manifests"), "manifests", descriptor.digest):
            try:
                found.append(Descriptor.from_json(entry))
            except InvalidDescriptor:
                continue
        return tuple(found)

    def image(self, document: Mapping[str, Any], descriptor: Descriptor) -> Manifest:
        """The config and the layers of a manifest."""
        config = self.descriptor(document.get("config"))
        known = CONFIG_TYPES
        if self.quirks.octet_stream_configs_refused:
            known -= {OCTET_STREAM}
        if config.media_type not in known:
            raise UnsupportedMediaType(
                f"the config of {descriptor.digest} is {config.media_type}: not an image's"
            )
        layers = tuple(
            self.descriptor(layer)
            for layer in _list(document.get("layers"), "layers", descriptor.digest)
        )
        others: tuple[Descriptor, ...] = ()
        if self.quirks.unknown_layers_passed_over:
            others = tuple(layer for layer in layers if not is_layer_type(layer.media_type))
            layers = tuple(layer for layer in layers if layer not in others)
        for layer in layers:
            self.check_layer_type(layer)
        return Manifest(config, layers, others)

    def check_layer_type(self, layer: Descriptor) -> None:
        """An image with a layer that nobody can apply can't be unpacked as a whole (LAYER-07)."""
        if not is_layer_type(layer.media_type):
            raise UnsupportedMediaType(
                f"layer {layer.digest} is {layer.media_type}: not a file system layer"
            )

    def descriptor(self, document: object) -> Descriptor:
        """One descriptor of an image: a malformed one spoils the whole image (BLOB-30, BLOB-37)."""
        return Descriptor.from_json(document)

    def config(self, data: bytes, manifest: Manifest) -> ImageConfig:
        """The config of an image; as many diff ids as layers (LAYER-09, image-spec config)."""
        digest = manifest.config.digest
        document = self.parse(data, digest)
        rootfs = document.get("rootfs")
        if not isinstance(rootfs, dict):
            raise ManifestError(f"config {digest} has no rootfs")
        self.check_rootfs_type(rootfs.get("type"), digest)
        diff_ids = tuple(
            check_digest(value) for value in _list(rootfs.get("diff_ids"), "diff_ids", digest)
        )
        if len(diff_ids) != len(manifest.layers):
            raise ManifestError(
                f"config {digest} has {len(diff_ids)} diff_ids "
                f"for {len(manifest.layers)} layers: mismatched image rootfs and manifest layers"
            )
        return ImageConfig(document, diff_ids)

    def check_rootfs_type(self, kind: object, digest: str) -> None:
        """Only layers are known; whoever unpacks has to refuse anything else (LAYER-34)."""
        if kind != "layers" and not self.quirks.rootfs_types_ignored:
            raise ManifestError(f"config {digest} has no rootfs of type layers")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise AmbiguousManifest(f"has {name!r} twice")
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _list(value: object, name: str, digest: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ManifestError(f"{name} of {digest} is not a list")
    return value
