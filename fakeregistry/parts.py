"""Parts: how an object is served, whole or by Range (RFC 9110, 14)."""

from __future__ import annotations

import re

from .messages import Content, Headers, Reply, Request, error

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)


def serve(content: Content, headers: Headers, request: Request) -> Reply:
    """Answer with the object, or with the one part that the request asks for.

    Several ranges, other units and nonsense are answered by the whole (RFC 9110, 14.2), a range
    beyond the end by 416.
    """
    asked = request.header("range") if request.method == "GET" else None
    match = _RANGE.fullmatch(asked) if asked else None
    headers = (("Content-Type", content.media_type), *headers, ("Accept-Ranges", "bytes"))
    if match is None or match.groups() == ("", ""):
        return Reply(200, headers, content.data, content)
    size = len(content.data)
    first, last = match.groups()
    if first:
        start = int(first)
        stop = min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return Reply(200, headers, content.data, content)
    else:
        start, stop = max(0, size - int(last)), size
    if start >= stop:
        refused = error(416, "UNSUPPORTED", f"no byte of {size} in range {asked}")
        headers = (*refused.headers, ("Content-Range", f"bytes */{size}"))
        return Reply(416, headers, refused.body, content)
    part = memoryview(content.data)[start:stop]
    headers = (*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    return Reply(206, headers, part, content, start)
