"""From a layer's blob to the tar inside it: gzip, zstd or nothing, by type and by content.

Every step gives out a bounded piece, however small the input that makes it (LAYER-31). isal is
used for gzip when it can be imported (the extra `fast`), zlib otherwise; both check the CRC and
the length of every member.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Literal, Protocol, cast

from reference import descriptors
from reference.errors import LayerError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["none", "gzip", "zstd"]

INPUT = 56 * 1024
"""Bytes read from the blob at once."""
STEP = 124 * 1024
"""Most bytes that one step of a decompressor gives out.

Smaller ones cost time; those of 128 KiB and more `malloc` maps, and then it keeps more than is
needed: 30 MiB for a layer of 1 GiB.
"""
_ZSTD_WINDOW = 27
"""Largest window that is accepted, as a power of two: what zstd itself takes without `--long`."""
_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SNIFF = 8


class Inflater(Protocol):
    """What zlib's and isal's decompression objects have in common."""

    @property
    def eof(self) -> bool: ...  # noqa: D102
    @property
    def unused_data(self) -> bytes: ...  # noqa: D102
    @property
    def unconsumed_tail(self) -> bytes: ...  # noqa: D102
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...  # noqa: D102


def zlib_inflater() -> Inflater:
    """One gzip member, by the standard library."""
    return zlib.decompressobj(wbits=31)


inflater: Callable[[], Inflater] = zlib_inflater
"""Makes the decompressor of one gzip member: isal's when it is installed."""
_GZIP_ERRORS: tuple[type[Exception], ...] = (zlib.error,)
try:
    from isal import isal_zlib
except ImportError:  # the extra isn't installed, or there is no build for this machine
    pass
else:

    def isal_inflater() -> Inflater:
        """One gzip member, by isal: twice as fast as zlib."""
        found: Inflater = isal_zlib.decompressobj(wbits=31)
        return found

    inflater = isal_inflater
    _GZIP_ERRORS = (zlib.error, cast("type[Exception]", isal_zlib.IsalError))


class Decompressor:
    """How a layer's blob becomes a tar stream. One object serves any number of layers."""

    def stream(self, blob: BinaryIO, media_type: str) -> Iterator[bytes]:
        """The tar inside `blob`, in pieces of at most `STEP` bytes."""
        chunks = iter(lambda: blob.read(INPUT), b"")
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) >= _SNIFF:
                break
        compression = self.compression(media_type, head)
        whole = _chain(head, chunks)
        if compression == "gzip":
            return self.gunzip(whole)
        if compression == "zstd":
            return self.unzstd(whole)
        return whole

    def compression(self, media_type: str, head: bytes) -> Compression:
        """How the blob is packed, by its type and its first bytes.

        A type that says it is compressed, and Docker's plain `.tar`, only promise *something*: the
        bytes decide (LAYER-02, LAYER-03). OCI's plain `.tar` is taken at its word. A suffix that
        nobody here can unpack is an error, not an empty layer (LAYER-07).
        """
        base, *suffixes = media_type.split("+")
        if "encrypted" in suffixes:
            raise LayerError(f"the layer is encrypted ({media_type}) and there is no key")
        oci = base in (descriptors.OCI_LAYER, descriptors.OCI_FOREIGN_LAYER)
        if oci and not suffixes:
            return "none"
        docker = descriptors.is_layer_type(base) and not base.startswith("application/vnd.oci.")
        if (docker and not suffixes) or ((oci or docker) and suffixes in (["gzip"], ["zstd"])):
            return self.sniff(head)
        raise LayerError(f"layers of type {media_type} can't be unpacked")

    def sniff(self, head: bytes) -> Compression:
        """The compression that the first bytes show."""
        if head.startswith(_GZIP_MAGIC):
            return "gzip"
        # A zstd stream may begin with a skippable frame: 0x184D2A5? in little-endian order.
        if head.startswith(_ZSTD_MAGIC) or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
            return "zstd"
        return "none"

    def gunzip(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Unpack all members of a gzip stream; zeros after a member are padding, not a member."""
        member: Inflater | None = None
        for chunk in chunks:
            left = chunk
            while left:
                if member is None:
                    left = left.lstrip(b"\0")
                    if not left:
                        break
                    member = inflater()
                while True:
                    out = self._inflate(member, left)
                    if out:
                        yield out
                    left = member.unconsumed_tail
                    if member.eof or (not left and len(out) < STEP):
                        break
                if member.eof:
                    left = member.unused_data
                    member = None
        if member is not None:
            raise LayerError("the layer is cut short: its gzip stream has no end")

    def _inflate(self, member: Inflater, data: bytes) -> bytes:
        try:
            return member.decompress(data, STEP)
        except _GZIP_ERRORS as error:
            raise LayerError(f"the layer's gzip stream is damaged: {error}") from None

    def unzstd(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Unpack all frames of a zstd stream, passing over skippable ones."""
        frame: zstd.ZstdDecompressor | None = None
        for chunk in chunks:
            left = chunk
            while left:
                if frame is None:
                    frame = zstd.ZstdDecompressor(
                        options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
                    )
                while True:
                    try:
                        out = frame.decompress(left, STEP)
                    except zstd.ZstdError as error:
                        raise LayerError(f"the layer's zstd stream is damaged: {error}") from None
                    if out:
                        yield out
                    left = b""
                    if frame.eof or frame.needs_input:
                        break
                if frame.eof:
                    left = frame.unused_data
                    frame = None
        if frame is not None:
            raise LayerError("the layer is cut short: its zstd stream has no end")


def _chain(head: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from chunks
