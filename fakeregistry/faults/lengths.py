"""Faults of lengths and framing: how a client is told where the body ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.script import End, EndKind, Raw, Script

from .base import Faults, Setting, at_least, on_http2, single_line


def _end(script: Script) -> EndKind:
    """Return the end of an answer whose length nobody can rely on: only a HEAD leaves the rest."""
    return "fin" if script.may_have_body else "keep"


@dataclass(frozen=True)
class WrongContentLength:
    """State a length that is off by `delta`; after the true body the connection closes."""

    delta: int

    def edit(self, script: Script, setting: Setting) -> Script:
        """Promise another length."""
        promised = script.length + self.delta
        if promised < 0 or self.delta == 0 or script.framing != "length":
            return script
        end: EndKind = "keep" if script.head_only else "fin"
        return replace(script, promised=promised, end=end)


@dataclass(frozen=True)
class HeadContentLength:
    """State a length in the answer to a HEAD that is off by `delta`: it and a GET disagree."""

    delta: int

    def edit(self, script: Script, setting: Setting) -> Script:
        """Promise another length."""
        if not script.head_only:
            return script
        return WrongContentLength(self.delta).edit(script, setting)


@dataclass(frozen=True)
class ContentLengthText:
    """State the length in raw text, such as "abc", "-1" or ""; the connection closes after."""

    value: str

    def __post_init__(self) -> None:
        single_line("content_length_text", self.value)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say this."""
        if script.framing != "length":
            return script
        return replace(script, lengths=(self.value,), end=_end(script))


@dataclass(frozen=True)
class TwoContentLengths:
    """State the true length, and a second one that is off by `delta` (0: the same again).

    `joined`: in one line with a comma. The connection closes after the body.
    """

    delta: int = 1
    joined: bool = False

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say both."""
        other = script.length + self.delta
        if other < 0 or script.framing != "length":
            return script
        said = (str(script.length), str(other))
        lengths = (", ".join(said),) if self.joined else said
        return replace(script, lengths=lengths, end=_end(script))


@dataclass(frozen=True)
class NoContentLength:
    """State no length: the end of the connection ends the body (it is close-delimited).

    The answer to a HEAD is without a length too, and leaves the connection. With http_version it
    is an answer of 1996.
    """

    def edit(self, script: Script, setting: Setting) -> Script:
        """Frame by closing."""
        return replace(script, framing="close")


@dataclass(frozen=True)
class Chunked:
    """Send the body in chunks, without Content-Length. HTTP/2 has no chunks."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Frame by chunks."""
        return script if on_http2(setting) else replace(script, framing="chunked")


@dataclass(frozen=True)
class ChunkedWithContentLength:
    """Send the body in chunks, and state a length all the same, off by `delta`.

    A client must go by the chunks (RFC 9112, 6.3); one that goes by the length, in a proxy, is how
    answers get smuggled.
    """

    delta: int = 0

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say both."""
        length = script.length + self.delta
        if on_http2(setting) or length < 0:
            return script
        return replace(script, framing="chunked", lengths=(str(length),))


@dataclass(frozen=True)
class ChunkExtension:
    """Send the body in chunks, with this text after the size of each (RFC 9112, 7.1.1)."""

    text: str = ";seen=yes"

    def __post_init__(self) -> None:
        single_line("chunk_extension", self.text)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Frame by chunks with it."""
        if on_http2(setting) or not script.may_have_body:
            return script
        writing = replace(script.writing, chunk_extension=self.text)
        return replace(script, framing="chunked", writing=writing)


@dataclass(frozen=True)
class BrokenChunkSize:
    """Send `n` bytes in chunks, then a chunk whose size is this text, and close."""

    n: int = 0
    text: str = "xyz"

    def __post_init__(self) -> None:
        at_least("broken_chunk_size", self.n, 0)
        single_line("broken_chunk_size", self.text)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Break the framing there."""
        if on_http2(setting) or not script.has_body or self.n >= script.length:
            return script
        broken = script.with_mark(self.n, Raw(self.text.encode() + b"\r\n"))
        broken = broken.with_mark(self.n, End("fin", terminated=False))
        return replace(broken, framing="chunked")


@dataclass(frozen=True)
class Trailer:
    """Say a header after the body, which comes in chunks for it (HTTP/2: as it is)."""

    name: str
    value: str

    def __post_init__(self) -> None:
        single_line("trailer", self.name + self.value)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Add the trailer, and announce it (RFC 9110, 6.6.2)."""
        if not script.may_have_body:
            return script
        framing = script.framing if on_http2(setting) else "chunked"
        return replace(
            script,
            framing=framing,
            headers=(*script.headers, ("Trailer", self.name)),
            trailers=(*script.trailers, (self.name, self.value)),
        )


FAULTS: Faults = {
    "wrong_content_length": WrongContentLength,
    "head_content_length": HeadContentLength,
    "content_length_text": ContentLengthText,
    "two_content_lengths": TwoContentLengths,
    "no_content_length": NoContentLength,
    "chunked": Chunked,
    "chunked_with_content_length": ChunkedWithContentLength,
    "chunk_extension": ChunkExtension,
    "broken_chunk_size": BrokenChunkSize,
    "trailer": Trailer,
}
