"""Content for a registry: entries, layers, images, indexes. Pure: no sockets, no clock.

The same spec is the same bytes everywhere (compressed bytes: for one build of the codec).
"""

from typing import TypeAlias, TypeVar

from . import mediatypes
from .compression import compress, gzip_member
from .descriptors import (
    OMIT,
    Algorithm,
    Descriptor,
    Document,
    Object,
    RawDescriptor,
    digest_of,
    to_json,
)
from .entries import (
    Device,
    Directory,
    Entry,
    Fifo,
    File,
    Hardlink,
    OpaqueWhiteout,
    RawEntry,
    Symlink,
    Whiteout,
)
from .image import ImageSpec, an_attestation, an_image, of_entries
from .index import IndexSpec, an_index
from .layers import SALT_FILE, Layer, a_layer, seeded_bytes
from .schema1 import EMPTY_LAYER, HistoryEntry, Schema1Spec, a_schema1_image
from .tar import pax_header, tar_bytes

Spec: TypeAlias = ImageSpec | IndexSpec | Schema1Spec

_S = TypeVar("_S", ImageSpec, IndexSpec, Schema1Spec)


def salted(spec: _S, salt: str) -> _S:
    """The same spec with ``salt`` in a file of every layer and in a label of every config.

    An empty salt changes nothing.
    """
    return spec.salted(salt)


__all__ = [
    "EMPTY_LAYER",
    "OMIT",
    "SALT_FILE",
    "Algorithm",
    "Descriptor",
    "Device",
    "Directory",
    "Document",
    "Entry",
    "Fifo",
    "File",
    "Hardlink",
    "HistoryEntry",
    "ImageSpec",
    "IndexSpec",
    "Layer",
    "Object",
    "OpaqueWhiteout",
    "RawDescriptor",
    "RawEntry",
    "Schema1Spec",
    "Spec",
    "Symlink",
    "Whiteout",
    "a_layer",
    "a_schema1_image",
    "an_attestation",
    "an_image",
    "an_index",
    "compress",
    "digest_of",
    "gzip_member",
    "mediatypes",
    "of_entries",
    "pax_header",
    "salted",
    "seeded_bytes",
    "tar_bytes",
    "to_json",
]
