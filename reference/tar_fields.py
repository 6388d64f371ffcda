"""The small grammars inside a tar header: numbers, PAX records, times."""

from __future__ import annotations

from reference.errors import LayerError


def number(text: bytes) -> int:
    """A number field: octal digits, or base-256 with the first bit set (GNU)."""
    if text[0] & 0x80:
        bits = 8 * len(text)
        value = int.from_bytes(text, "big") - (1 << (bits - 1))
        return value - (1 << (bits - 1)) if text[0] & 0x40 else value
    digits = text.strip(b" \0").split(b"\0", 1)[0].rstrip(b" ")
    if not digits:
        return 0
    try:
        if not digits.isdigit():
            raise ValueError
        return int(digits, 8)
    except ValueError:
        raise LayerError(f"invalid tar: {digits!r} in a number field") from None


def pax_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records `<length> <key>=<value>\\n` of a PAX header, in order."""
    records = []
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 20)
        digits = data[position:blank] if blank > 0 else b""
        if not digits.isdigit():
            raise LayerError("invalid tar: a PAX record without its length")
        end = position + int(digits)
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= blank + 2 or data[end - 1 : end] != b"\n":
            raise LayerError("invalid tar: a PAX record with a wrong length")
        if not equals or not key:
            raise LayerError("invalid tar: a PAX record without a key")
        records.append((key, value))
        position = end
    return records


def decimal(key: bytes, value: bytes) -> int:
    """A number as PAX writes it: decimal digits, not negative."""
    if not value.isdigit() or len(value) > 19:
        raise LayerError(f"invalid tar: {key.decode()} is {value[:40]!r}")
    return int(value)


def seconds(value: bytes) -> int:
    """Nanoseconds from decimal seconds such as `-1.25`, without going through a float."""
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    digits = whole + fraction
    if not whole or not digits.isdigit() or len(digits) > 60:
        raise LayerError(f"invalid tar: PAX mtime is {value[:40]!r}")
    nanoseconds = int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if value.startswith(b"-") else nanoseconds
