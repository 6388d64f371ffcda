"""Compression with nothing in the result that depends on the day or the machine.

gzip headers carry no name and time zero, so equal input gives equal output for one zlib build.
"""

import lzma
import struct
import sys
import zlib

from .mediatypes import Compression

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def compress(data: bytes, how: Compression, *, members: int = 1, level: int | None = None) -> bytes:
    """``data`` compressed, cut in ``members`` parts that are compressed one by one.

    Several members are one valid stream: readers must go on to the next (RFC 1952 section 2.2,
    RFC 8878 section 3.1). ``level`` is the codec's own; None is the codec's default.
    """
    if how == "none":
        return data
    return b"".join(_one(part, how, level) for part in _parts(data, members))


def _parts(data: bytes, count: int) -> list[bytes]:
    if count < 1:
        raise ValueError(f"a compressed stream has at least one member, not {count}")
    step = -(-len(data) // count) or 1
    return [data[at * step : (at + 1) * step] for at in range(count)]


def _one(data: bytes, how: Compression, level: int | None) -> bytes:
    if how == "gzip":
        return gzip_member(data, 6 if level is None else level)
    if how == "zstd":
        return zstd.compress(data, 3 if level is None else level)
    return lzma.compress(data, preset=6 if level is None else level)


def gzip_member(data: bytes, level: int = 6) -> bytes:
    """One gzip member: no name, time 0, system 'unknown'."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    body = deflate.compress(data) + deflate.flush()
    return head + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
