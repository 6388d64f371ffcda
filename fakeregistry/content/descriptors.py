"""Digests, descriptors, and the objects that a registry stores for a spec."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .data import Buffer

Algorithm = Literal["sha256", "sha512"]
Document = dict[str, Any]


class _Omit:
    """The type of :data:`OMIT`."""

    def __repr__(self) -> str:
        return "OMIT"


OMIT = _Omit()
"""As a value in ``declared=``: leave the key out of the document."""


@dataclass(frozen=True)
class Object:
    """One thing that the registry can be asked for.

    ``digest`` is the name under which a puller will ask. Where a spec declares a digest that
    isn't the content's, that false name stands here: serving other bytes under it is the lie.
    ``role`` says what it is in its image: ``manifest``, ``index``, ``config``, ``layer[0]``.
    """

    kind: Literal["manifest", "blob"]
    digest: str
    media_type: str
    data: Buffer = field(repr=False)
    role: str


def digest_of(data: Buffer, algorithm: Algorithm = "sha256") -> str:
    """``sha256:<hex>`` of the bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def to_json(document: Any) -> bytes:
    """A document's bytes: keys in the order they were put, two blanks of indent, ASCII."""
    return json.dumps(document, indent=2).encode()


def merged(base: Mapping[str, Any], declared: Mapping[str, Any]) -> Document:
    """``base`` with the keys of ``declared`` put over it; :data:`OMIT` drops a key."""
    result = {**base, **declared}
    return {key: value for key, value in result.items() if value is not OMIT}


class Descriptor(dict[str, Any]):
    """A descriptor as it stands in a document, whose usual keys can be asked by name.

    Any of them may be false, malformed or absent (then empty): descriptors are where lies live.
    """

    @property
    def digest(self) -> str:
        """The digest by which a puller asks for what is described."""
        return str(self.get("digest", ""))

    @property
    def media_type(self) -> str:
        """What it is said to be."""
        return str(self.get("mediaType", ""))


@dataclass(frozen=True)
class RawDescriptor:
    """A descriptor of one's own making for an index, with the content it names, if it exists.

    ``content`` None: nothing is stored, and asking for it is a 404.
    """

    fields: Mapping[str, Any] = field(hash=False)
    content: bytes | None = field(default=None, repr=False)

    @property
    def descriptor(self) -> Descriptor:
        """The fields as they stand in the index."""
        return Descriptor(merged(self.fields, {}))

    @property
    def digest(self) -> str:
        """The digest by which a puller asks for it."""
        return self.descriptor.digest

    def object(self) -> Object | None:
        """What the registry stores for it."""
        if self.content is None:
            return None
        return Object(
            "manifest",
            str(self.fields.get("digest", digest_of(self.content))),
            str(self.fields.get("mediaType", "application/octet-stream")),
            self.content,
            "manifest",
        )
