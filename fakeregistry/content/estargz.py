"""eStargz: a gzip layer in which each file is a gzip member of its own, and a table says where.

Source: stargz-snapshotter's ``docs/estargz.md``. To whom doesn't know the form it is gzip of a tar
that has two more files: the table and a landmark.
"""

import struct
from collections.abc import Sequence

from .compression import gzip_member
from .data import Data, Spool, sha256_of
from .descriptors import Document
from .entries import Entry, File
from .tar import END_OF_ARCHIVE, Format, tar_members
from .toc import Packed, TocLie, has_content, named_digest, toc_bytes, toc_entry

TOC_NAME = "stargz.index.json"
LANDMARK = File(".no.prefetch.landmark", b"\x0f")
TOC_DIGEST = "containerd.io/snapshot/stargz/toc.digest"
UNCOMPRESSED_SIZE = "io.containers.estargz.uncompressed-size"
CHUNK = 4 << 20
"""A file larger than that is cut in several members."""


def estargz(
    entries: Sequence[Entry],
    *,
    form: Format = "pax",
    level: int | None = None,
    chunk: int = CHUNK,
    lie: TocLie | None = None,
) -> Packed:
    """A layer in eStargz. Raises ``ValueError`` for entries that its table can't hold."""
    level = 9 if level is None else level
    spool, parts, listed = Spool(), list[Data](), list[Document]()
    # What waits for its member's end. A member begins with a file's content, and goes on with what
    # follows until the next one: padding and headers.
    held = bytearray()
    for member in tar_members((LANDMARK, *entries), form):
        parts += member.parts
        held += member.head
        described = toc_entry(member)
        if not has_content(member):
            listed.append(described)
            continue
        described["digest"] = f"sha256:{sha256_of(member.data)}"
        size = len(member.data)
        for start in range(0, size, chunk):
            spool.write(gzip_member(bytes(held), level))
            content = member.data[start : start + chunk]
            held = bytearray(content)
            described["offset"] = spool.count
            described["chunkDigest"] = f"sha256:{sha256_of(content)}"
            if start:
                described["chunkOffset"] = start
            if start + chunk < size:
                described["chunkSize"] = len(content)
            listed.append(described)
            described = {"name": member.entry.name, "type": "chunk"}
        held += member.padding
    spool.write(gzip_member(bytes(held), level))
    offset = spool.count
    document = toc_bytes(listed, lie)
    toc = File(TOC_NAME, document, mode=0o444)
    (last,) = tar_members((toc,), form)
    parts += [*last.parts, END_OF_ARCHIVE]
    tail = b"".join((last.head, document, last.padding, END_OF_ARCHIVE))
    spool.write(gzip_member(tail, level))
    spool.write(_footer(offset + 1 if lie == "position" else offset))
    annotations = {
        TOC_DIGEST: named_digest(document, lie),
        UNCOMPRESSED_SIZE: str(sum(len(part) for part in parts)),
    }
    return Packed(spool.buffer(), parts, annotations, (LANDMARK, toc))


def _footer(offset: int) -> bytes:
    """51 bytes: an empty gzip member whose extra field says where the table is."""
    said = b"%016xSTARGZ" % offset
    extra = b"SG" + struct.pack("<H", len(said)) + said
    head = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff" + struct.pack("<H", len(extra)) + extra
    return head + b"\x01\x00\x00\xff\xff" + bytes(8)
