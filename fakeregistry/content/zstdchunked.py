"""zstd:chunked: a zstd layer with a frame for each file's content, and a table in skippable frames.

Source: ``pkg/chunked`` of containers/storage, which is the form's only description. To whom doesn't
know it, it is zstd of just the same tar: readers pass over skippable frames (RFC 8878, 3.1.2).
"""

import base64
import json
import struct
from collections.abc import Sequence
from functools import cache

from .compression import compress, compressed
from .data import Data, Spool, sha256_of, slices
from .descriptors import Document, digest_of
from .entries import Entry
from .tar import END_OF_ARCHIVE, Format, tar_members
from .toc import Packed, TocLie, has_content, named_digest, toc_bytes, toc_entry

CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"
POSITION = "io.github.containers.zstd-chunked.manifest-position"
TAR_SPLIT = "io.github.containers.zstd-chunked.tarsplit-position"

_SKIPPABLE = 0x184D2A50
_CRFS = 1
_MAGIC = b"GNUlInUx"
_HEADER = 8
_FILE, _SEGMENT = 1, 2


def zstd_chunked(
    entries: Sequence[Entry],
    *,
    form: Format = "pax",
    level: int | None = None,
    lie: TocLie | None = None,
) -> Packed:
    """A layer in zstd:chunked. Raises ``ValueError`` for entries that its table can't hold."""
    spool, parts, listed, split = Spool(), list[Data](), list[Document](), _TarSplit()
    held = bytearray()
    for member in tar_members(entries, form):
        parts += member.parts
        held += member.head
        described = toc_entry(member)
        split.segment(member.head)
        split.file(member.entry.name, member.data)
        split.segment(member.padding)
        if has_content(member):
            spool.write(compress(bytes(held), "zstd", level=level))
            described["offset"] = spool.count
            for piece in compressed([member.data], "zstd", level=level):
                spool.write(piece)
            described["endOffset"] = spool.count
            described["digest"] = f"sha256:{sha256_of(member.data)}"
            held = bytearray()
        listed.append(described)
        held += member.padding
    parts.append(END_OF_ARCHIVE)
    split.segment(END_OF_ARCHIVE)
    spool.write(compress(bytes(held) + END_OF_ARCHIVE, "zstd", level=level))

    split_frame = compress(split.document, "zstd", level=level)
    document = toc_bytes(listed, lie, tarSplitDigest=digest_of(split_frame))
    frame = compress(document, "zstd", level=level)
    position = spool.count + _HEADER + (1 if lie == "position" else 0)
    split_position = spool.count + _HEADER + len(frame) + _HEADER
    said = (position, len(frame), len(document), _CRFS)
    said_of_split = (split_position, len(split_frame), len(split.document))
    footer = struct.pack("<7Q", *said, *said_of_split) + _MAGIC
    for content in (frame, split_frame, footer):
        spool.write(struct.pack("<II", _SKIPPABLE, len(content)) + content)
    annotations = {
        CHECKSUM: named_digest(frame, lie),
        POSITION: ":".join(map(str, said)),
        TAR_SPLIT: ":".join(map(str, said_of_split)),
    }
    return Packed(spool.buffer(), parts, annotations)


class _TarSplit:
    """What is needed to make the very same tar again from the files: all that isn't content.

    Source: vbatts/tar-split, ``tar/storage``: a JSON document for each piece, one a line.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    @property
    def document(self) -> bytes:
        """All pieces so far."""
        return b"".join(self._lines)

    def segment(self, data: bytes) -> None:
        """Bytes as they stand in the tar."""
        if data:
            self._add(_SEGMENT, payload=base64.b64encode(data).decode())

    def file(self, name: str, data: Data) -> None:
        """A file's content, by its name and CRC-64."""
        raw = name.encode("utf-8", "surrogateescape")
        try:
            named = {"name": raw.decode()}
        except UnicodeDecodeError:
            named = {"name_raw": base64.b64encode(raw).decode()}
        if len(data):
            payload = base64.b64encode(_crc64(data).to_bytes(8, "big")).decode()
            self._add(_FILE, **named, size=len(data), payload=payload)
        else:
            self._add(_FILE, **named, payload=None)

    def _add(self, kind: int, **fields: object) -> None:
        line = {"type": kind, **fields, "position": len(self._lines)}
        self._lines.append(json.dumps(line).encode() + b"\n")


@cache
def _crc64_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xD800000000000000 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _crc64(data: Data) -> int:
    """CRC-64 by ISO 3309's polynomial, as Go's ``hash/crc64`` counts it."""
    table, value = _crc64_table(), 0xFFFFFFFFFFFFFFFF
    for piece in slices([data]):
        for byte in piece:
            value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFFFFFFFFFF
