"""Layers that are almost nothing, and layers that become far more than they are."""

from dataclasses import replace
from typing import Any, Literal

from .data import Generated, bytes_of
from .entries import File
from .layers import Layer

Empty = Literal["bytes", "stream", "archive"]
"""Three ways to say 'no change': a blob of no bytes at all, a compressed stream of nothing, and an
archive of 1024 zeros, which alone is a tar."""
EMPTY: tuple[Empty, ...] = ("bytes", "stream", "archive")

BOMB_FILE = "bomb"


def an_empty_layer(how: Empty = "archive", **overrides: Any) -> Layer:
    """A layer that changes nothing. ``overrides``: fields of :class:`Layer`."""
    if how == "bytes":
        return Layer(**{"raw_tar": b"", "raw_blob": b"", **overrides})
    if how == "stream":
        return Layer(**{"raw_tar": b"", **overrides})
    return Layer(**overrides)


def a_bomb(layer: Layer, size: int | str) -> Layer:
    """The layer with a file of ``size`` zeros at its end, which its compression makes tiny.

    gzip makes about a thousandth of them, zstd a thirty-thousandth, bz2 less. They are never all in
    memory; the time is that of compressing and hashing them, some two seconds a GiB.
    """
    zeros = File(BOMB_FILE, Generated(bytes_of(size)))
    return replace(layer, entries=(*layer.entries, zeros))
