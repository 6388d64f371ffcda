"""An image: layers, config and manifest, honest unless a field says otherwise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self

from .descriptors import Algorithm, Descriptor, Document, Object, digest_of, merged, to_json
from .entries import Entry
from .layers import Embedded, Layer, a_layer, embedded
from .mediatypes import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    IN_TOTO,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_MANIFEST,
)

Edit = Callable[[Document], Document | None]
"""Changes a document in place, or returns another one."""

SALT_LABEL = "test.salt"
ABOUT = "vnd.docker.reference.digest"
"""The annotation by which an attestation says which image it is about."""
EMPTY_CONFIG = b"{}"
"""The config of what needs none (image-spec, manifest.md, 'Guidance for an Empty Descriptor')."""
FILLING = "test.filling"
"""The annotation that makes a document as large as is wanted."""


class Subject(Protocol):
    """What an artifact can refer to: an image or an index."""

    @property
    def descriptor(self) -> Descriptor:
        """Its descriptor."""
        ...

    def salted(self, salt: str) -> Self:
        """The same with other bytes."""
        ...


@dataclass(frozen=True)
class ImageSpec:
    """One image for one platform. Frozen: change it with :func:`dataclasses.replace`.

    ``platform`` is ``os/architecture[/variant]``. ``config_fields`` are put over the config
    document, ``labels`` into it. ``artifact_type`` makes an artifact: its config is the empty one,
    unless it is given. ``subject`` is what it refers to: content of the same registry.
    ``config_embed``: the config's descriptor carries it in ``data``. ``manifest_size``: an
    annotation fills the manifest up to so many bytes.

    Lies: ``diff_ids`` (the whole list instead of the layers' own), ``config_declared`` /
    ``declared`` (keys put over the config's descriptor in the manifest, and over this manifest's
    descriptor in an index; ``OMIT`` drops one), ``edit`` / ``config_edit`` (change a document
    before it is written), ``raw_manifest`` / ``raw_config`` (these bytes instead),
    ``content_type`` (what the registry calls the manifest in its header), ``served`` (False: the
    registry doesn't have the manifest).
    """

    layers: tuple[Layer, ...] = ()
    platform: str = "linux/amd64"
    docker: bool = False
    os_version: str | None = None
    os_features: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    history: tuple[Mapping[str, Any], ...] | None = field(default=None, hash=False)
    config_fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    config_edit: Edit | None = None
    config_declared: Mapping[str, Any] = field(default_factory=dict, hash=False)
    config_algorithm: Algorithm = "sha256"
    config_embed: bool | Embedded = False
    artifact_type: str | None = None
    subject: "Subject | None" = None
    manifest_size: int | None = None
    raw_config: bytes | None = field(default=None, repr=False)
    diff_ids: tuple[str, ...] | None = None
    declared: Mapping[str, Any] = field(default_factory=dict, hash=False)
    edit: Edit | None = None
    algorithm: Algorithm = "sha256"
    raw_manifest: bytes | None = field(default=None, repr=False)
    content_type: str | None = None
    served: bool = True
    created: str = "2023-11-14T22:13:20Z"

    def __post_init__(self) -> None:
        # Whether the types are Docker's or OCI's is the image's matter: its layers follow.
        # One that need not change stays the same object: what it has built may be large.
        adapted = tuple(
            layer if layer.docker == self.docker else replace(layer, docker=self.docker)
            for layer in self.layers
        )
        object.__setattr__(self, "layers", adapted)

    @property
    def platform_object(self) -> Document:
        """The platform as an index writes it."""
        os, _, rest = self.platform.partition("/")
        architecture, _, variant = rest.partition("/")
        platform: Document = {"architecture": architecture, "os": os}
        if self.os_version is not None:
            platform["os.version"] = self.os_version
        if self.os_features:
            platform["os.features"] = list(self.os_features)
        if variant:
            platform["variant"] = variant
        return platform

    @cached_property
    def config(self) -> bytes:
        """The config's bytes; their digest is the image id."""
        if self.raw_config is not None:
            return self.raw_config
        if self.artifact_type is not None:
            return EMPTY_CONFIG
        counted = [layer for layer in self.layers if layer.counted]
        document: Document = {
            "created": self.created,
            **self.platform_object,
            "config": {"Cmd": ["/bin/tool"], "Env": ["PATH=/bin"], "Labels": dict(self.labels)},
            "rootfs": {
                "type": "layers",
                "diff_ids": list(self.diff_ids)
                if self.diff_ids is not None
                else [layer.diff_id for layer in counted],
            },
            "history": [dict(entry) for entry in self.history]
            if self.history is not None
            else [
                {"created": self.created, "created_by": f"ADD layer {n}"}
                for n in range(len(counted))
            ],
        }
        return to_json(_edited(merged(document, self.config_fields), self.config_edit))

    @property
    def config_digest(self) -> str:
        """The digest by which a puller asks for the config."""
        declared = self.config_declared.get("digest")
        if isinstance(declared, str):
            return declared
        return digest_of(self.config, self.config_algorithm)

    @property
    def image_id(self) -> str:
        """The image id: the digest of the config."""
        return self.config_digest

    @property
    def config_descriptor(self) -> Descriptor:
        """The config's descriptor as it stands in the manifest."""
        honest: Document = {
            "mediaType": self._config_type,
            "digest": digest_of(self.config, self.config_algorithm),
            "size": len(self.config),
        }
        if self.config_embed:
            honest["data"] = embedded(self.config, self.config_embed)
        return Descriptor(merged(honest, self.config_declared))

    @property
    def _config_type(self) -> str:
        if self.artifact_type is not None and self.raw_config is None:
            return OCI_EMPTY
        return DOCKER_CONFIG if self.docker else OCI_CONFIG

    @cached_property
    def manifest(self) -> bytes:
        """The manifest's bytes."""
        if self.raw_manifest is not None:
            return self.raw_manifest
        document: Document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if self.docker else OCI_MANIFEST,
        }
        if self.artifact_type is not None:
            document["artifactType"] = self.artifact_type
        document["config"] = self.config_descriptor
        document["layers"] = [layer.descriptor for layer in self.layers]
        if self.subject is not None:
            document["subject"] = subject_descriptor(self.subject)
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return filled(_edited(document, self.edit), self.manifest_size)

    @property
    def media_type(self) -> str:
        """The type under which the registry serves the manifest."""
        if self.content_type is not None:
            return self.content_type
        return DOCKER_MANIFEST if self.docker else OCI_MANIFEST

    @property
    def size(self) -> int:
        """Length of the manifest in bytes."""
        return len(self.manifest)

    @cached_property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest, self.algorithm)

    @property
    def descriptor(self) -> Descriptor:
        """This manifest's descriptor as an index holds it, platform included."""
        honest: Document = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
            "platform": self.platform_object,
        }
        return Descriptor(merged(honest, self.declared))

    def objects(self) -> Iterator[Object]:
        """All that the registry stores for it: layers and config, then the manifest."""
        seen: set[str] = set()
        for number, layer in enumerate(self.layers):
            if layer.served and layer.digest not in seen:
                seen.add(layer.digest)
                yield layer.object(f"layer[{number}]")
        config_type = str(self.config_descriptor.get("mediaType", OCI_CONFIG))
        yield Object("blob", self.config_digest, config_type, self.config, "config")
        if self.served:
            yield Object("manifest", self.digest, self.media_type, self.manifest, "manifest")

    def salted(self, salt: str) -> "ImageSpec":
        """The same image with other bytes: salt in every layer and in a label of the config."""
        if not salt:
            return self
        mark = {SALT_LABEL: salt}
        # An artifact has no config of its own that could hold it.
        artifact = self.artifact_type is not None
        return replace(
            self,
            layers=tuple(layer.salted(salt) for layer in self.layers),
            labels={**self.labels, **mark},
            annotations={**self.annotations, **mark} if artifact else self.annotations,
            subject=None if self.subject is None else self.subject.salted(salt),
        )


def an_image(
    layers: int | Sequence[Layer] = 2,
    *,
    size: int = 3 * 1024,
    platform: str = "linux/amd64",
    docker: bool = False,
    salt: str = "",
    **overrides: Any,
) -> ImageSpec:
    """An ordinary image: so many layers of :func:`a_layer`, or the layers given.

    ``size``: see :func:`a_layer`. ``overrides``: fields of :class:`ImageSpec`.
    """
    made = (
        tuple(a_layer(n, size=size) for n in range(layers)) if isinstance(layers, int) else layers
    )
    spec = ImageSpec(layers=tuple(made), platform=platform, docker=docker, **overrides)
    return spec.salted(salt)


def of_entries(*entries: Entry, **overrides: Any) -> Layer:
    """A layer that holds just these entries."""
    return Layer(entries=tuple(entries), **overrides)


def an_attestation(image: ImageSpec) -> ImageSpec:
    """The provenance manifest that buildx puts beside an image in its index.

    It has the platform ``unknown/unknown`` and says by annotation which image it is about.
    """
    statement = to_json(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": "image", "digest": {"sha256": image.digest.partition(":")[2]}}],
            "predicate": {},
        }
    )
    layer = Layer(
        raw_blob=statement,
        raw_tar=statement,
        declared={"mediaType": IN_TOTO},
        compression="none",
        annotations={"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
    )
    return ImageSpec(
        layers=(layer,),
        platform="unknown/unknown",
        declared={
            "annotations": {
                ABOUT: image.digest,
                "vnd.docker.reference.type": "attestation-manifest",
            }
        },
    )


def subject_descriptor(subject: Subject) -> Document:
    """How a document names what it refers to: without platform (distribution-spec, 'subject')."""
    wanted = ("mediaType", "digest", "size")
    return {key: value for key, value in subject.descriptor.items() if key in wanted}


def filled(document: Document, size: int | None) -> bytes:
    """The document's bytes, just ``size`` of them by an annotation of blanks; None: as it is.

    Raises ``ValueError`` where it is larger already.
    """
    written = to_json(document)
    if size is None:
        return written
    annotations = {**document.get("annotations", {}), FILLING: ""}
    document = {**document, "annotations": annotations}
    room = size - len(to_json(document))
    if room < 0:
        raise ValueError(f"a document of {len(written)} bytes can't be filled up to {size}")
    annotations[FILLING] = " " * room
    return to_json(document)


def _edited(document: Document, edit: Edit | None) -> Document:
    if edit is None:
        return document
    changed = edit(document)
    return document if changed is None else changed
