"""Reading a tar stream: entries in order, bodies in pieces, nothing of the file system.

Understands what layers are made of: v7, ustar, GNU (long names, base-256 numbers, sparse files) and
PAX (path, linkpath, size, uid, gid, mtime, `SCHILY.xattr.*`, sparse files). Global PAX headers are
passed over (LAYER-28). Names stay bytes. Anything that can't be read for certain is a LayerError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reference import tar_sparse
from reference.errors import LayerError
from reference.tar_fields import decimal, number, pax_records, seconds
from reference.tar_sparse import Extents

REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK = b"0", b"1", b"2", b"3", b"4"
DIRECTORY, FIFO, CONTIGUOUS = b"5", b"6", b"7"
_KINDS = frozenset({REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO})
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _GNU_SPARSE = b"L", b"K", b"x", b"g", b"S"

BLOCK_SIZE = 512
MAX_EXTENSION = 1024 * 1024
"""Most bytes of a long name or a PAX header: they are held in memory."""
_MAX_TIME = 2**63 - 1
"""Times are bounded to what 64-bit nanoseconds can say (years 1678 to 2262), as containerd does."""
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
_ZEROS = bytes(BLOCK_SIZE)
_XATTR = b"SCHILY.xattr."


@dataclass(slots=True)
class Entry:
    """One member of the archive, as its header says it."""

    name: bytes
    kind: bytes
    """One of REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO."""
    mode: int
    """Permission bits with setuid, setgid and sticky."""
    uid: int
    gid: int
    size: int
    """Bytes of the file it describes; 0 for everything that isn't a regular file."""
    mtime: int
    """Nanoseconds since 1970."""
    link: bytes
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    extents: Extents | None = None
    """For a sparse file: where its bytes go, as (offset, length)."""


class TarReader:
    """Iterate to get the entries; call `body` for the content of the one just received."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._view = memoryview(b"")
        self._stored = 0  # bytes of the current body that weren't read yet
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        """The entries, in order. What the caller doesn't read of a body is passed over."""
        long_name: bytes | None = None
        long_link: bytes | None = None
        pax: list[tuple[bytes, bytes]] = []
        while (block := self._next_header()) is not None:
            kind = block[156:157]
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
                data = self._extension(block)
                if kind == _LONG_NAME:
                    long_name = data.split(b"\0", 1)[0]
                elif kind == _LONG_LINK:
                    long_link = data.split(b"\0", 1)[0]
                elif kind == _PAX:
                    pax = pax_records(data)
                continue
            entry = _entry(block)
            if long_name is not None:
                entry.name = long_name
            if long_link is not None:
                entry.link = long_link
            _apply_pax(entry, pax)
            self._begin_body(entry, block, pax)
            _check(entry)
            long_name, long_link, pax = None, None, []
            yield entry
        if long_name is not None or long_link is not None or pax:
            raise LayerError("the tar ends after an extended header, without its entry")

    def body(self) -> Iterator[memoryview]:
        """The stored bytes of the current entry. Each piece is valid until the next is asked for.

        For a sparse file these are the bytes of its extents, one after the other.
        """
        while self._stored:
            piece = self._piece(self._stored)
            self._stored -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read to the end of the stream: trailing bytes count for the diffID (LAYER-05)."""
        self._view = memoryview(b"")
        for _ in self._chunks:
            pass

    def _next_header(self) -> bytes | None:
        """The next header block with a right checksum, or None at the archive's end."""
        for _ in self.body():
            pass
        self._skip(self._padding)
        self._padding = 0
        block = self._block()
        if block is None:
            return None
        if block == _ZEROS:
            after = self._block()
            if after is not None and after != _ZEROS:
                raise LayerError("invalid tar: a single block of zeros between entries")
            return None
        stored = number(block[148:156])
        unsigned = sum(block) - sum(block[148:156]) + 8 * 32
        if stored != unsigned and stored != unsigned - 256 * _high_bytes(block):
            raise LayerError("invalid tar: a header has a wrong checksum")
        return block

    def _block(self) -> bytes | None:
        """One block, or None when the stream ended before it."""
        if len(self._view) < BLOCK_SIZE:
            data = self._read(BLOCK_SIZE, at_end_ok=True)
            return data or None
        data = bytes(self._view[:BLOCK_SIZE])
        self._view = self._view[BLOCK_SIZE:]
        return data

    def _extension(self, block: bytes) -> bytes:
        size = number(block[124:136])
        if not 0 <= size <= MAX_EXTENSION:
            raise LayerError(f"invalid tar: an extended header of {size} bytes")
        data = self._read(size)
        self._padding = -size % BLOCK_SIZE
        return data

    def _begin_body(self, entry: Entry, block: bytes, pax: list[tuple[bytes, bytes]]) -> None:
        """Note how many bytes follow, and read a sparse file's map."""
        sparse = entry.kind == _GNU_SPARSE
        if sparse or entry.kind == CONTIGUOUS:
            entry.kind = REGULAR
        if entry.kind != REGULAR:
            entry.size = 0
        self._stored = stored = entry.size
        if stored < 0:
            raise LayerError(f"invalid tar: a file of {stored} bytes")
        self._padding = -stored % BLOCK_SIZE
        if sparse:
            entry.extents, entry.size = tar_sparse.gnu_map(block, self._whole_block)
        elif entry.kind == REGULAR and (form := tar_sparse.pax_form(pax)) is not None:
            if form.in_body:
                form.extents, used = tar_sparse.body_map(self._whole_block, stored)
                self._stored -= used
            entry.name = form.name or entry.name
            entry.extents, entry.size = form.extents, form.size
        if entry.extents is not None:
            tar_sparse.check(entry.extents, entry.size, self._stored)

    def _whole_block(self) -> bytes:
        return self._read(BLOCK_SIZE)

    def _piece(self, most: int) -> memoryview:
        """The next 1 to `most` bytes."""
        while not self._view:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise LayerError("the layer is cut short: its tar ends in the middle of an entry")
            self._view = memoryview(chunk)
        piece = self._view[:most]
        self._view = self._view[len(piece) :]
        return piece

    def _read(self, size: int, *, at_end_ok: bool = False) -> bytes:
        """Exactly `size` bytes; with `at_end_ok` nothing instead when the stream is at its end."""
        if at_end_ok:
            while not self._view:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return b""
                self._view = memoryview(chunk)
        found = bytearray()
        while len(found) < size:
            found += self._piece(size - len(found))
        return bytes(found)

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._piece(size))


def _entry(block: bytes) -> Entry:
    """What the header block alone says."""
    name, mode, uid, gid, size, mtime, _, kind, link, magic, *rest = _HEADER.unpack(block)
    major, minor, prefix = rest[3:6]
    name = name.split(b"\0", 1)[0]
    if magic == b"ustar\0":  # GNU's magic ends in a blank, and other fields are there then
        prefix = prefix.split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    if kind == b"\0":  # before POSIX a directory was a file with a slash at its end
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    device = kind in (CHARACTER, BLOCK)
    return Entry(
        name=name,
        kind=kind,
        mode=number(mode) & 0o7777,
        uid=number(uid),
        gid=number(gid),
        size=number(size),
        mtime=number(mtime) * 10**9,
        link=link.split(b"\0", 1)[0],
        major=number(major) if device else 0,
        minor=number(minor) if device else 0,
    )


def _apply_pax(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    """Let the PAX header's records win over the header block; later ones over earlier ones."""
    for key, value in records:
        if not value:
            continue  # an empty value means: as if the record weren't there
        if key.startswith(_XATTR):
            entry.xattrs[key[len(_XATTR) :].decode("utf-8", "surrogateescape")] = value
        elif key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key == b"size":
            entry.size = decimal(key, value)
        elif key == b"uid":
            entry.uid = decimal(key, value)
        elif key == b"gid":
            entry.gid = decimal(key, value)
        elif key == b"mtime":
            entry.mtime = seconds(value)


def _check(entry: Entry) -> None:
    if entry.kind not in _KINDS:
        raise LayerError(f"invalid tar: {entry.name!r} is of the unknown kind {entry.kind!r}")
    if not entry.name:
        raise LayerError("invalid tar: an entry without a name")
    entry.mtime = max(-_MAX_TIME, min(entry.mtime, _MAX_TIME))


def _high_bytes(block: bytes) -> int:
    """How many bytes outside the checksum are over 127: old tars summed them as signed."""
    return sum(byte > 127 for byte in block[:148] + block[156:])
