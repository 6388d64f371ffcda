"""Sparse files in tar: where the stored bytes go. GNU's old form, and PAX 0.0, 0.1 and 1.0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reference.errors import LayerError
from reference.tar_fields import decimal, number

Extents = list[tuple[int, int]]
"""(offset, length) in bytes, in ascending order."""

MAX_MAP = 1024 * 1024
"""Most bytes of a map, as Go has it (CVE-2025-58183): a small blob can unpack to a large one."""
_MAX_SIZE = 2**63 - 1


@dataclass(slots=True)
class PaxForm:
    """What the PAX records say of a sparse file; `in_body`: its map is before its bytes."""

    name: bytes
    size: int
    extents: Extents
    in_body: bool


def gnu_map(block: bytes, next_block: Callable[[], bytes]) -> tuple[Extents, int]:
    """The map in a header of type `S` and the blocks after it, and the file's size."""
    size = number(block[483:495])
    extents = _gnu_pairs(block[386:482])
    extended, used = block[482], 0
    while extended:
        used = _counted(used)
        block = next_block()
        extents += _gnu_pairs(block[:504])
        extended = block[504]
    return extents, size


def _gnu_pairs(data: bytes) -> Extents:
    pairs = []
    for at in range(0, len(data), 24):
        if not data[at]:
            break
        pairs.append((number(data[at : at + 12]), number(data[at + 12 : at + 24])))
    return pairs


def pax_form(records: Sequence[tuple[bytes, bytes]]) -> PaxForm | None:
    """What the records say of a sparse file, or None when it isn't one."""
    values = dict(records)
    name = values.get(b"GNU.sparse.name", b"")
    if b"GNU.sparse.major" in values:
        if (values[b"GNU.sparse.major"], values.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise LayerError("invalid tar: a sparse file in a form later than 1.0")
        size = _count(values.get(b"GNU.sparse.realsize", b""))
        return PaxForm(name, size, [], in_body=True)
    if b"GNU.sparse.size" not in values:
        return None
    size = _count(values[b"GNU.sparse.size"])
    if b"GNU.sparse.map" in values:
        numbers = values[b"GNU.sparse.map"].split(b",") if values[b"GNU.sparse.map"] else []
    else:  # 0.0 repeats two keys, so their order in the header is what counts
        numbers = [v for k, v in records if k in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
    if len(numbers) % 2:
        raise LayerError("invalid tar: half a pair in the map of a sparse file")
    found = [_count(value) for value in numbers]
    return PaxForm(name, size, list(zip(found[::2], found[1::2], strict=True)), in_body=False)


def body_map(next_block: Callable[[], bytes], stored: int) -> tuple[Extents, int]:
    """The map at the start of a body (form 1.0), and how many bytes it took."""
    text = b""
    used = 0
    numbers: list[int] = []
    wanted = 1
    while len(numbers) < wanted:
        line, newline, rest = text.partition(b"\n")
        if not newline:
            used = _counted(used)
            if used > stored:
                raise LayerError("invalid tar: the map of a sparse file is longer than its body")
            text += next_block()
            if len(line) > 20:
                raise LayerError("invalid tar: a number of a sparse file's map has no end")
            continue
        numbers.append(_count(line))
        text = rest
        if len(numbers) == 1:
            wanted = 1 + 2 * numbers[0]
    return list(zip(numbers[1::2], numbers[2::2], strict=True)), used


def check(extents: Extents, size: int, stored: int) -> None:
    """Refuse a map that overlaps itself, leaves the file, or doesn't use the bytes stored."""
    end = 0
    for offset, length in extents:
        if offset < end or length < 0:
            raise LayerError("invalid tar: the pieces of a sparse file overlap")
        end = offset + length
    if end > size or size > _MAX_SIZE:
        raise LayerError("invalid tar: a piece of a sparse file is beyond its end")
    if sum(length for _, length in extents) != stored:
        raise LayerError("invalid tar: a sparse file's map and its bytes don't fit")


def _counted(used: int) -> int:
    """The bytes of a map with one more block."""
    if used >= MAX_MAP:
        raise LayerError("invalid tar: a sparse file of too many pieces")
    return used + 512


def _count(value: bytes) -> int:
    return decimal(b"a number of a sparse file", value)
