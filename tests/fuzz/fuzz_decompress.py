"""Decompression: bounded pieces, the same bytes however they come, nothing made of broken ones."""

from __future__ import annotations

import gzip
import io
import sys

from harness import MIB, PromiseError, held

from reference.decompress import STEP, Decompressor
from reference.descriptors import DOCKER_LAYER, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD
from reference.errors import LayerError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TYPES = (
    *(OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_LAYER, DOCKER_LAYER, OCI_LAYER + "+xz"),
    *("", "+gzip", OCI_LAYER + "+gzip+encrypted", "\n"),
)
"""An input's first byte says which of them it has."""
_PLAIN = bytes(range(256)) * 20
_GZIP = gzip.compress(_PLAIN, mtime=0)
_ZSTD = zstd.compress(_PLAIN)
_BOMB = gzip.compress(bytes(3 * STEP + 1), mtime=0)
_SKIP = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
WORDS = [_GZIP, _GZIP[:10], _GZIP[-8:], _ZSTD, _ZSTD[:6], _SKIP, bytes(64), b"\x1f\x8b\x08\x1f"]
WORDS += [b"\x28\xb5\x2f\xfd", b"\xff\xff\xff\xff", b"\x1f\x8b\x08\x04\0\0\0\0\0\xff"]
SEEDS = [
    *(bytes([kind]) + body for kind in range(len(TYPES)) for body in (b"", b"x", _GZIP, _ZSTD)),
    b"\0" + _GZIP + bytes(700) + _GZIP,
    b"\0" + gzip.compress(b"", mtime=0) * 500,
    b"\0" + _GZIP[:-1],
    b"\0" + _GZIP[:-8] + bytes(8),
    b"\0" + _GZIP + b"trailing",
    b"\0" + _BOMB,
    b"\0" + _BOMB * 3,
    b"\1" + _ZSTD + _SKIP + _ZSTD + _SKIP,
    b"\1" + _SKIP * 500,
    b"\1" + zstd.compress(b"") * 500,
    b"\1" + zstd.compress(bytes(3 * STEP)),
    b"\1" + _ZSTD[:-3],
    b"\1\x28\xb5\x2f\xfd\0\xf8" + _ZSTD[6:],
]


class Slow(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 61) if size and size > 0 else size)


def unpacked(blob: io.BytesIO, media_type: str) -> tuple[bytes, str]:
    """What comes out of a blob, and the error in its end."""
    found = bytearray()
    try:
        for piece in Decompressor().stream(blob, media_type):
            if not 0 < len(piece) <= STEP:
                raise PromiseError(f"a piece of {len(piece)} bytes")
            found += piece
            if len(found) > 16 * MIB:
                return bytes(found), "long enough"
    except LayerError as error:
        return bytes(found), str(error)
    return bytes(found), ""


def fuzz_one(data: bytes) -> None:
    """Unpack the same bytes in large and in small pieces."""
    media_type = TYPES[data[0] % len(TYPES)] if data else ""
    with held(data, steps=(20_000, 30), memory=(96 * MIB, 200)):
        found, error = unpacked(io.BytesIO(data[1:]), media_type)
        again, other = unpacked(Slow(data[1:]), media_type)
        if not error and (again != found or other):
            raise PromiseError("what comes out depends on how the bytes come")
