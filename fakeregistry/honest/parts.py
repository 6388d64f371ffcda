"""Parts: an object served whole or by Range, and preconditions on it (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re

from fakeregistry.messages import Content, Headers, Reply, Request, error, header_of

_RANGES = re.compile(r"bytes=(.*)", re.IGNORECASE)
_RANGE = re.compile(r"[ \t]*([0-9]*)-([0-9]*)[ \t]*")
_TAG = re.compile(r'(W/)?"[^"]*"')
_BEYOND = 1_000_000_000_000_000_000
"""A position beyond the end of every object; longer numbers are read as this one."""

Range = tuple[int | None, int | None]
"""One range as asked for: first and last position; no first: the last so many bytes."""


def ranges_of(request: Request) -> list[Range]:
    """Return the byte ranges that a GET asks for; none where the header means nothing.

    A header of another unit, or with anything that is no range, is ignored as a whole (RFC 9110,
    14.2 allows that).
    """
    text = request.header("range") if request.method == "GET" else None
    match = _RANGES.fullmatch(text.strip()) if text else None
    found: list[Range] = []
    for one in match[1].split(",") if match else ():
        if not one.strip():
            continue  # a list may have empty elements (RFC 9110, 5.6.1.2)
        said = _RANGE.fullmatch(one)
        if said is None:
            return []
        first, last = (_number(text) for text in said.groups())
        if (first is None and last is None) or (
            first is not None and last is not None and last < first
        ):
            return []
        found.append((first, last))
    return found


def _number(text: str) -> int | None:
    if len(text) > 18:
        return _BEYOND  # int() itself refuses some thousand digits, which anybody can send
    return int(text) if text else None


def span(asked: Range, size: int) -> tuple[int, int] | None:
    """Return first position and end of a range in an object; None where it holds no byte."""
    first, last = asked
    if first is None:
        start, stop = max(0, size - (last or 0)), size
    else:
        start, stop = first, size if last is None else min(size, last + 1)
    return (start, stop) if start < stop else None


def tag_of(content: Content) -> tuple[str, str] | None:
    """Return the ETag header of an object: its digest, a strong validator; None without one."""
    return None if content.digest is None else ("ETag", f'"{content.digest}"')


def held_back(request: Request, tag: str | None) -> Reply | None:
    """Return 304 or 412 where a precondition about the ETag says so (RFC 9110, 13.1, 13.2)."""
    if tag is None or request.method not in ("GET", "HEAD"):
        return None
    match = request.header("if-match")
    if match is not None and match.strip() != "*" and tag not in _tags(match):
        return error(412, "UNSUPPORTED", "another version was asked for")
    match = request.header("if-none-match")
    if match is not None and (match.strip() == "*" or tag in (_weak(x) for x in _tags(match))):
        return Reply(304)
    return None


def _tags(text: str) -> list[str]:
    return [match[0] for match in _TAG.finditer(text)]


def _weak(tag: str) -> str:
    return tag.removeprefix("W/")


def serve(content: Content, headers: Headers, request: Request) -> Reply:
    """Answer with the object, or with the one part that the request asks for.

    Several ranges, other units and nonsense are answered by the whole (RFC 9110, 14.2), a range
    beyond the end by 416. If-Range with anything but the very ETag makes it the whole (13.1.5).
    """
    tag = header_of(headers, "etag")
    if tag is None and (own := tag_of(content)) is not None:
        tag, headers = own[1], (*headers, own)
    held = held_back(request, tag)
    if held is not None:
        return Reply(held.status, (*held.headers, *headers), held.body, content)
    headers = (("Content-Type", content.media_type), *headers, ("Accept-Ranges", "bytes"))
    asked = ranges_of(request)
    condition = request.header("if-range")
    size = len(content.data)
    whole = Reply(200, headers, content.data, content)
    if len(asked) != 1 or (condition is not None and condition.strip() != tag):
        return whole
    found = span(asked[0], size)
    if found is None and size == 0 and asked[0][0] is None and asked[0][1]:
        return whole  # the last bytes of nothing: satisfiable (14.1.2), and no part can say it
    if found is None:
        refused = error(416, "UNSUPPORTED", f"no byte of {size} in range {request.header('range')}")
        headers = (*refused.headers, ("Content-Range", f"bytes */{size}"))
        return Reply(416, headers, refused.body, content)
    start, stop = found
    headers = (*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    return Reply(206, headers, memoryview(content.data)[start:stop], content, start)
