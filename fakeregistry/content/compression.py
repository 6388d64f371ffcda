"""Compression with nothing in the result that depends on the day or the machine.

gzip headers carry no name and time zero, so equal input gives equal output for one zlib build.
What is compressed comes in slices and goes in slices: neither has to fit into memory.
"""

import bz2
import lzma
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from .data import Buffer, Data, length, slices
from .mediatypes import Codec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVELS = {"gzip": 6, "zstd": 3, "xz": 6, "bz2": 9}
_LARGEST_BLOCK = 128 * 1024
"""Of a zstd frame (RFC 8878 section 3.1.1.2.4)."""


class _Packer(Protocol):
    """Makes one member: takes slices, gives slices."""

    def compress(self, data: Buffer, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compress(data: Data, how: Codec, *, members: int = 1, level: int | None = None) -> bytes:
    """``data`` compressed, cut in ``members`` parts that are compressed one by one.

    Several members are one valid stream: readers must go on to the next (RFC 1952 section 2.2,
    RFC 8878 section 3.1). ``level`` is the codec's own; None is the codec's default.
    """
    return b"".join(compressed([data], how, members=members, level=level))


def compressed(
    parts: Iterable[Data],
    how: Codec,
    *,
    members: int = 1,
    level: int | None = None,
    checksum: bool = False,
) -> Iterator[Buffer]:
    """The same from parts and in slices. ``checksum``: zstd frames end with one."""
    if members < 1:
        raise ValueError(f"a compressed stream has at least one member, not {members}")
    parts = list(parts)
    if how == "none":
        yield from slices(parts)
        return
    level = _LEVELS[how] if level is None else level
    left, made = length(parts), 0
    step = -(-left // members) or 1
    packer: _Packer | None = None
    room = 0
    for piece in slices(parts):
        view = memoryview(piece)
        while view:
            if packer is None:
                room = min(step, left)
                packer = _packer(how, level, room, checksum)
            now, view = view[:room], view[room:]
            room -= len(now)
            left -= len(now)
            yield packer.compress(now)
            if not room:
                yield packer.flush()
                packer, made = None, made + 1
    for _ in range(members - made):
        yield _packer(how, level, 0, checksum).flush()


def gzip_member(data: bytes, level: int = 6) -> bytes:
    """One gzip member: no name, time 0, system 'unknown'."""
    packer = _Gzip(level)
    return packer.compress(data) + packer.flush()


def wide_zstd(parts: Iterable[Data], log: int) -> Iterator[Buffer]:
    """One zstd frame of raw blocks that asks its reader for a window of 2**``log`` bytes.

    A window may have up to 41 bits; a reader may refuse more than it will give, and should take
    8 MiB (RFC 8878 section 3.1.1.1.2).
    """
    if not 10 <= log <= 41:
        raise ValueError(f"a zstd window has 10 to 41 bits, not {log}")
    yield struct.pack("<IBB", 0xFD2FB528, 0, (log - 10) << 3)
    for piece in slices(parts, _LARGEST_BLOCK):
        yield (len(piece) << 3).to_bytes(3, "little")
        yield piece
    yield b"\x01\x00\x00"


def _packer(how: Codec, level: int, size: int, checksum: bool) -> _Packer:
    if how == "gzip":
        return _Gzip(level)
    if how == "zstd":
        return _Zstd(level, size, checksum)
    if how == "xz":
        return lzma.LZMACompressor(preset=level)
    return bz2.BZ2Compressor(level)


class _Gzip:
    """One gzip member (RFC 1952)."""

    def __init__(self, level: int) -> None:
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
        self._crc = 0
        self._size = 0

    def compress(self, data: Buffer, /) -> bytes:
        """Take a slice."""
        head, self._head = self._head, b""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        return head + self._deflate.compress(data)

    def flush(self) -> bytes:
        """End the member."""
        tail = struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
        return self._head + self._deflate.flush() + tail


class _Zstd:
    """One zstd frame that says its content's size, as a tool that compresses a file does."""

    def __init__(self, level: int, size: int, checksum: bool) -> None:
        parameter = zstd.CompressionParameter
        options: dict[int, int] = {
            parameter.compression_level: level,
            parameter.checksum_flag: int(checksum),
        }
        self._packer = zstd.ZstdCompressor(options=options)
        self._packer.set_pledged_input_size(size)

    def compress(self, data: Buffer, /) -> bytes:
        """Take a slice."""
        return self._packer.compress(data)

    def flush(self) -> bytes:
        """End the frame."""
        return self._packer.flush()
