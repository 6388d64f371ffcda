"""Compressed streams that are broken in one place each, with everything else about them right."""

from collections.abc import Iterator
from typing import Literal

from .data import Buffer, gathered
from .mediatypes import Codec

Corruption = Literal["checksum", "cut", "magic", "middle"]
"""``checksum``: what the stream says of its content at the end (bz2: of its first block) is wrong.
``cut``: its last bytes are missing. ``magic``: it doesn't begin as its codec's streams do.
``middle``: bytes half-way are others."""
CORRUPTIONS: tuple[Corruption, ...] = ("checksum", "cut", "magic", "middle")

# Where a byte of a checksum stands: gzip's CRC-32 before its length (RFC 1952, 2.3.1), zstd's frame
# checksum (RFC 8878, 3.1.1), the CRC-32 in the footer of xz, that of bz2's first block.
_CHECKSUM: dict[Codec, int] = {"gzip": -8, "zstd": -4, "xz": -12, "bz2": 10}
_CUT = 16


def corrupted(blob: Buffer, how: Corruption, codec: Codec) -> Buffer:
    """The stream, broken. Raises ``ValueError`` where there is nothing to break in that way."""
    if codec == "none" and how != "cut":
        raise ValueError(f"a layer that isn't compressed has no {how} to corrupt")
    if len(blob) < 2 * _CUT:
        raise ValueError(f"{len(blob)} bytes are too few to corrupt")
    if how == "cut":
        return blob[: len(blob) - _CUT]
    if how == "checksum":
        return _inverted(blob, _CHECKSUM[codec] % len(blob), 1)
    if how == "magic":
        return _inverted(blob, 0, 1)
    return _inverted(blob, len(blob) // 2, 8)


def _inverted(blob: Buffer, start: int, count: int) -> Buffer:
    def pieces() -> Iterator[Buffer]:
        view = memoryview(blob)
        step = 1 << 20
        for at in range(0, start, step):
            yield view[at : min(at + step, start)]
        yield bytes(byte ^ 0xFF for byte in view[start : start + count])
        for at in range(start + count, len(view), step):
            yield view[at : at + step]

    return gathered(pieces())
