"""Descriptors, digests and media types: the nouns that every other module speaks in.

Sources: image-spec `descriptor.md` (fields, digest grammar) and the media types in
`media-types.md`; Docker's types are those of "Image Manifest V 2, Schema 2".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reference.errors import InvalidDescriptor

if TYPE_CHECKING:
    from hashlib import _Hash

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_LAYER_GZIP = DOCKER_FOREIGN_LAYER + ".gzip"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCTET_STREAM = "application/octet-stream"

ENCRYPTED = "+encrypted"
"""What ocicrypt puts behind a layer's media type."""
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
SCHEMA1_TYPES = frozenset({SCHEMA1, SCHEMA1_SIGNED})
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG, OCTET_STREAM})

ALGORITHMS: Mapping[str, int] = {"sha256": 64, "sha512": 128}
"""Digest algorithm -> number of hexadecimal characters (image-spec, registered algorithms)."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(f"{_NAME}/{_NAME}")


def is_digest(value: object) -> bool:
    """Whether `value` is a digest that this puller can verify: `sha256:` or `sha512:` and hex."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def check_digest(value: object) -> str:
    """Return `value` if it is a well-formed digest, otherwise raise InvalidDescriptor.

    A digest becomes a path in the store, so nothing else may ever get through (BLOB-37).
    """
    if isinstance(value, str) and _DIGEST.fullmatch(value) is not None:
        return value
    raise InvalidDescriptor(
        f"invalid digest {_shown(value)}: expected sha256:<64 lower-case hex> or sha512:<128>"
    )


def algorithm_of(digest: str) -> str:
    """The algorithm's name in a checked digest."""
    return check_digest(digest).partition(":")[0]


def encoded_of(digest: str) -> str:
    """The hexadecimal part of a checked digest."""
    return check_digest(digest).partition(":")[2]


def hasher_for(digest: str) -> _Hash:
    """A fresh hash object of the algorithm that `digest` names."""
    return hashlib.new(algorithm_of(digest))


def digest_of(data: bytes | memoryview, algorithm: str = "sha256") -> str:
    """The digest of `data` as a string `algorithm:hex`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def is_layer_type(media_type: str) -> bool:
    """Whether containerd counts `media_type` as a layer (behaviours, section 3.5).

    Any type under the OCI layer prefix counts, also with suffixes nobody can unpack (`+xz`), so
    that such an image fails in unpacking instead of silently missing a layer (LAYER-07).
    """
    base = media_type.partition("+")[0]
    return media_type.startswith("application/vnd.oci.image.layer.") or base in {
        DOCKER_LAYER,
        DOCKER_LAYER_GZIP,
        DOCKER_LAYER_ZSTD,
        DOCKER_FOREIGN_LAYER,
        DOCKER_FOREIGN_LAYER_GZIP,
    }


def is_encrypted_type(media_type: str) -> bool:
    """Whether a layer of this type can't be unpacked without a key (ENC-02)."""
    return media_type.endswith(ENCRYPTED)


def is_foreign_type(media_type: str) -> bool:
    """Whether a layer of this type may not be redistributed: the only ones whose `urls` count."""
    return media_type.startswith((OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER))


@dataclass(frozen=True)
class Descriptor:
    """What names a piece of content: its type, its digest and its size in bytes."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    data: bytes | None = None
    platform: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        check_digest(self.digest)
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 0:
            raise InvalidDescriptor(f"invalid size {_shown(self.size)} of {self.digest}")

    @classmethod
    def of(cls, media_type: str, data: bytes, algorithm: str = "sha256") -> Descriptor:
        """The descriptor of bytes at hand."""
        return cls(media_type, digest_of(data, algorithm), len(data))

    @classmethod
    def from_json(cls, document: object) -> Descriptor:
        """Read a descriptor out of a parsed JSON document, refusing what the grammar doesn't allow.

        Unknown fields are ignored (image-spec: extensibility). A size that is negative, a fraction,
        a string or a boolean is refused: it would switch the length check off (BLOB-30).
        """
        if not isinstance(document, Mapping):
            raise InvalidDescriptor(f"a descriptor has to be an object, not {_shown(document)}")
        digest = check_digest(document.get("digest"))
        media_type = document.get("mediaType")
        if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
            raise InvalidDescriptor(f"invalid mediaType {_shown(media_type)} of {digest}")
        size: Any = document.get("size")
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            urls=_strings(document.get("urls"), "urls", digest),
            annotations=_string_map(document.get("annotations"), "annotations", digest),
            data=_base64(document.get("data"), digest),
            platform=_object(document.get("platform"), "platform", digest),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON form, without the fields that are empty."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.urls:
            document["urls"] = list(self.urls)
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.data is not None:
            document["data"] = base64.b64encode(self.data).decode("ascii")
        if self.platform is not None:
            document["platform"] = dict(self.platform)
        return document


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _strings(value: object, name: str, digest: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidDescriptor(f"{name} of {digest} have to be a list of strings")
    return tuple(value)


def _object(value: object, name: str, digest: str) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidDescriptor(f"{name} of {digest} has to be an object, not {_shown(value)}")
    return value


def _string_map(value: object, name: str, digest: str) -> Mapping[str, str]:
    found = _object(value, name, digest) or {}
    if not all(isinstance(item, str) for item in found.values()):
        raise InvalidDescriptor(f"{name} of {digest} have to map strings to strings")
    return found


def _base64(value: object, digest: str) -> bytes | None:
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, ValueError, TypeError):
        raise InvalidDescriptor(f"data of {digest} isn't base64") from None
