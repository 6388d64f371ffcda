"""Content for a registry: entries, layers, images, indexes. Pure: no sockets, no clock.

The same spec is the same bytes everywhere (compressed bytes: for one build of the codec).
"""

from typing import TypeAlias, TypeVar

from . import mediatypes
from .compression import compress, gzip_member
from .corruption import CORRUPTIONS, Corruption
from .data import Buffer, Generated, bytes_of
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
from .edits import AMBIGUOUS, NO_LAYERS, NO_MEDIA_TYPE, NULL_LAYERS, Edits
from .encryption import ENCRYPTION_LIES, EncryptionLie, LayerKey
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
from .evil import Evil, evil
from .hostile import EVIL
from .image import ImageSpec, an_attestation, an_image, of_entries
from .index import IndexSpec, an_index
from .layers import EMBEDDED, SALT_FILE, Embedded, Layer, a_layer, seeded_bytes
from .schema1 import EMPTY_LAYER, HistoryEntry, Schema1Spec, a_schema1_image
from .shapes import (
    DIFF_IDS,
    SCHEMA1_FORMS,
    DiffIds,
    Schema1Form,
    a_document,
    an_artifact,
    as_schema1,
    attested,
    nested_index,
    wide_index,
    with_diff_ids,
)
from .special import EMPTY, Empty, a_bomb, an_empty_layer
from .tar import pax_header, tar_bytes
from .toc import TOC_LIES, TocLie
from .trees import (
    deep_dirs,
    many_files,
    many_hardlinks,
    many_opaques,
    of_every_kind,
    replacements,
    whiteout_orders,
)

Spec: TypeAlias = ImageSpec | IndexSpec | Schema1Spec

_S = TypeVar("_S", ImageSpec, IndexSpec, Schema1Spec)


def salted(spec: _S, salt: str) -> _S:
    """The same spec with ``salt`` in a file of every layer and in a label of every config.

    An empty salt changes nothing.
    """
    return spec.salted(salt)


__all__ = [
    "AMBIGUOUS",
    "CORRUPTIONS",
    "DIFF_IDS",
    "EMBEDDED",
    "EMPTY",
    "EMPTY_LAYER",
    "ENCRYPTION_LIES",
    "EVIL",
    "NO_LAYERS",
    "NO_MEDIA_TYPE",
    "NULL_LAYERS",
    "OMIT",
    "SALT_FILE",
    "SCHEMA1_FORMS",
    "TOC_LIES",
    "Algorithm",
    "Buffer",
    "Corruption",
    "Descriptor",
    "Device",
    "DiffIds",
    "Directory",
    "Document",
    "Edits",
    "Embedded",
    "Empty",
    "EncryptionLie",
    "Entry",
    "Evil",
    "Fifo",
    "File",
    "Generated",
    "Hardlink",
    "HistoryEntry",
    "ImageSpec",
    "IndexSpec",
    "Layer",
    "LayerKey",
    "Object",
    "OpaqueWhiteout",
    "RawDescriptor",
    "RawEntry",
    "Schema1Form",
    "Schema1Spec",
    "Spec",
    "Symlink",
    "TocLie",
    "Whiteout",
    "a_bomb",
    "a_document",
    "a_layer",
    "a_schema1_image",
    "an_artifact",
    "an_attestation",
    "an_empty_layer",
    "an_image",
    "an_index",
    "as_schema1",
    "attested",
    "bytes_of",
    "compress",
    "deep_dirs",
    "digest_of",
    "evil",
    "gzip_member",
    "many_files",
    "many_hardlinks",
    "many_opaques",
    "mediatypes",
    "nested_index",
    "of_entries",
    "of_every_kind",
    "pax_header",
    "replacements",
    "salted",
    "seeded_bytes",
    "tar_bytes",
    "to_json",
    "whiteout_orders",
    "wide_index",
    "with_diff_ids",
]
