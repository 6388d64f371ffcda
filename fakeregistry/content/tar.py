"""A tar writer that says nothing of its own: the same entries are the same bytes everywhere.

The standard library's writer cleans, pads and orders as its version likes; here each header is
laid out by hand, which also lets an entry lie about its size or its checksum. Formats: POSIX.1
ustar with pax records (``pax``), ustar alone (``ustar``), and GNU's long names (``gnu``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .data import Data, slices
from .entries import DIRECTORY, Entry, RawEntry

BLOCK_SIZE = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_SIZE)

Format = Literal["pax", "ustar", "gnu"]

_NAME_BYTES = 100
_PREFIX_BYTES = 155
_EIGHT_GIB = 8 * 1024**3


@dataclass(frozen=True)
class Member:
    """One entry as it stands in the archive: what comes before its data, and the data."""

    entry: RawEntry
    head: bytes
    data: Data

    @property
    def padding(self) -> bytes:
        """The zeros that fill the data's last block."""
        return bytes(-len(self.data) % BLOCK_SIZE)

    @property
    def parts(self) -> tuple[Data, ...]:
        """All of it, in order."""
        return (self.head, self.data, self.padding)


def tar_bytes(entries: Iterable[Entry], form: Format = "pax") -> bytes:
    """The whole archive with its two closing blocks of zeros, in memory.

    Raises ``ValueError`` where the format can't hold an entry (a long name in plain ustar).
    """
    return b"".join(slices(tar_parts(entries, form)))


def tar_parts(entries: Iterable[Entry], form: Format = "pax") -> list[Data]:
    """The same archive in parts, data that is generated still ungenerated."""
    parts = [part for member in tar_members(entries, form) for part in member.parts]
    return [*parts, END_OF_ARCHIVE]


def tar_members(entries: Iterable[Entry], form: Format = "pax") -> Iterator[Member]:
    """The archive's members, without what closes it."""
    for entry in entries:
        raw = entry.raw()
        yield Member(raw, _before(raw, form), raw.data)


def _before(entry: RawEntry, form: Format) -> bytes:
    name, link = _encode(entry.name), _encode(entry.linkname)
    size = len(entry.data) if entry.size is None else entry.size
    before = b""
    if form == "gnu":
        if len(name) > _NAME_BYTES:
            before += _gnu_long("L", name)
        if len(link) > _NAME_BYTES:
            before += _gnu_long("K", link)
        prefix = b""
    else:
        prefix, short = _ustar_split(name)
        records = dict(entry.pax)
        if short is None:
            records["path"] = name
        if len(link) > _NAME_BYTES:
            records["linkpath"] = link
        for field, value in (("size", size), ("uid", entry.uid), ("gid", entry.gid)):
            if value >= (_EIGHT_GIB if field == "size" else 8**7):
                records[field] = str(value).encode()
        if form == "ustar" and records:
            raise ValueError(
                f"plain ustar can't hold the entry {entry.name!r}: {', '.join(records)}"
            )
        if records:
            before = pax_header(records)
        name = name[:_NAME_BYTES] if short is None else short
    return before + _header(entry, name, link, prefix, size, form)


def pax_header(records: Mapping[str, bytes], *, scope: str = "x") -> bytes:
    """A pax extended header (``x``: for the next member, ``g``: for all that follow)."""
    body = pax_records(records)
    entry = RawEntry("././@PaxHeader", scope, data=body)
    return _header(entry, _encode(entry.name), b"", b"", len(body), "pax") + _padded(body)


def pax_records(records: Mapping[str, bytes]) -> bytes:
    """What a pax extended header holds, for a header of one's own making."""
    return b"".join(_pax_record(key, value) for key, value in records.items())


def _pax_record(key: str, value: bytes) -> bytes:
    rest = b" " + _encode(key) + b"=" + value + b"\n"
    # The length counts its own digits: the smallest number that is true of itself.
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def _gnu_long(flag: str, value: bytes) -> bytes:
    data = value + b"\0"
    entry = RawEntry("././@LongLink", flag, data=data)
    return _header(entry, _encode(entry.name), b"", b"", len(data), "gnu") + _padded(data)


def _ustar_split(name: bytes) -> tuple[bytes, bytes | None]:
    """(prefix, name) as ustar holds a path, or (b"", None) where only a pax record can."""
    if not name.isascii():
        return b"", None
    if len(name) <= _NAME_BYTES:
        return b"", name
    # Cut at the last slash that leaves a prefix small enough and a rest that isn't empty.
    cut = name.rfind(b"/", 0, min(_PREFIX_BYTES + 1, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > _NAME_BYTES:
        return b"", None
    return name[:cut], name[cut + 1 :]


def _header(
    entry: RawEntry, name: bytes, link: bytes, prefix: bytes, size: int, form: Format
) -> bytes:
    magic = b"ustar  \0" if form == "gnu" else b"ustar\x0000"
    device = entry.type in "34"
    head = bytearray(
        b"".join(
            (
                name[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
                _number(entry.mode, 8, form),
                _number(entry.uid, 8, form),
                _number(entry.gid, 8, form),
                _size_field(entry, size, form),
                _number(entry.mtime, 12, form),
                b" " * 8,
                _encode(entry.type)[:1] or b"\0",
                link[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
                magic,
                _encode(entry.uname)[:31].ljust(32, b"\0"),
                _encode(entry.gname)[:31].ljust(32, b"\0"),
                _number(entry.major, 8, form) if device else b"\0" * 8,
                _number(entry.minor, 8, form) if device else b"\0" * 8,
                prefix.ljust(_PREFIX_BYTES, b"\0"),
                b"\0" * 12,
            )
        )
    )
    checksum = sum(head) if entry.checksum is None else entry.checksum
    head[148:156] = b"%06o\0 " % checksum
    return bytes(head)


def _size_field(entry: RawEntry, size: int, form: Format) -> bytes:
    if entry.size_field is not None:
        return entry.size_field[:12].ljust(12, b"\0")
    return _number(0 if entry.type == DIRECTORY and entry.size is None else size, 12, form)


def _number(value: int, width: int, form: Format) -> bytes:
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    if form == "gnu" or value < 0:
        # GNU's base-256: the first bit says so. Negative times exist in no other form.
        raw = bytearray(value.to_bytes(width, "big", signed=True))
        raw[0] |= 0x80
        return bytes(raw)
    # The true value stands in a pax record; what stands here is only read by old readers.
    return b"%0*o\0" % (width - 1, 0)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK_SIZE)


def _encode(text: str) -> bytes:
    # surrogateescape lets a test write names that are no UTF-8 at all.
    return text.encode("utf-8", "surrogateescape")
