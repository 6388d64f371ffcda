"""The verbs about what an answer says: status, headers, body, lengths, codings, ranges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from fakeregistry.faults import Fault, bodies, codings, headers, lengths, ranges, status
from fakeregistry.messages import Buffer


class AnswerVerbs(ABC):
    """What a rule can make an answer say; each method adds one fault and returns the rule."""

    @abstractmethod
    def add(self, *faults: Fault) -> Self:
        """Add faults; they act in the order in which they were added."""

    # status

    def status(
        self, code: int, body: str | bytes | None = None, retry_after: int | str | None = None
    ) -> Self:
        """Answer with a status and an OCI error body (or `body`)."""
        return self.add(status.Status(code, body, retry_after))

    def too_many_requests(self, retry_after: int | str | None = 1, *, date: bool = False) -> Self:
        """Answer 429 with Retry-After: seconds (`date`: as a date), any text, or None."""
        return self.add(status.TooManyRequests(retry_after, date))

    def not_modified(self) -> Self:
        """Answer 304 instead of the object."""
        return self.add(status.NotModified())

    def informational(self, code: int = 103, times: int = 1, link: str | None = None) -> Self:
        """Send an answer of 1xx so many times before the final one."""
        return self.add(status.Informational(code, times, link))

    def http_version(self, version: str = "1.0") -> Self:
        """Say another version in the status line."""
        return self.add(status.HttpVersion(version))

    def reason(self, text: str = "") -> Self:
        """Say another reason phrase, or none."""
        return self.add(status.Reason(text))

    def garbage(self, text: str = "") -> Self:
        """Answer with this text, which is no HTTP, and close; without any: close."""
        return self.add(status.Garbage(text))

    # headers

    def header(self, name: str, value: str) -> Self:
        """Set a header."""
        return self.add(headers.Header(name, value))

    def add_header(self, name: str, value: str) -> Self:
        """Say a header once more, beside what stands there."""
        return self.add(headers.AddHeader(name, value))

    def drop_header(self, name: str) -> Self:
        """Leave a header away."""
        return self.add(headers.DropHeader(name))

    def rename_header(self, name: str, to: str) -> Self:
        """Say a header by another name, or in odd case."""
        return self.add(headers.RenameHeader(name, to))

    def raw_header(self, text: str | bytes) -> Self:
        """Write a line into the head just as it stands."""
        return self.add(headers.RawHeader(text))

    def digest_header(self, value: str | None) -> Self:
        """Set Docker-Content-Digest; None drops it, "wrong", "of_body" and "sha512" make one."""
        return self.add(headers.DigestHeader(value))

    def content_type(self, value: str | None) -> Self:
        """Set the Content-Type; None drops it."""
        return self.add(headers.ContentType(value))

    def content_type_alternate(self, values: tuple[str, ...] | list[str]) -> Self:
        """Say another one of these Content-Types in each answer, in turn."""
        return self.add(headers.ContentTypeAlternate(tuple(values)))

    def etag(self, value: str | None) -> Self:
        """Set the ETag; None drops it."""
        return self.add(headers.ETag(value))

    def etag_changes(self) -> Self:
        """Say another ETag in each answer."""
        return self.add(headers.ETagChanges())

    # bodies

    def body(self, data: bytes | str, content_type: str | None = None) -> Self:
        """Say these bytes instead, with a true length."""
        return self.add(bodies.Body(data, content_type))

    def html_page(
        self, title: str = "Sign in to the network", *, keep_headers: bool = False
    ) -> Self:
        """Answer 200 with an HTML page, as a captive portal does."""
        return self.add(bodies.HtmlPage(title, keep_headers))

    def empty_body(self, promised: int = 0) -> Self:
        """Say no byte; Content-Length says `promised`."""
        return self.add(bodies.EmptyBody(promised))

    def error_body(
        self,
        code: str = "UNKNOWN",
        message: str = "unknown error",
        detail: object = None,
        form: str = "oci",
    ) -> Self:
        """Give an error answer another body; `form`: one of `faults.bodies.ERROR_FORMS`."""
        return self.add(bodies.ErrorBody(code, message, detail, form))

    def swap(self, other: Buffer) -> Self:
        """Serve another object's bytes under this object's name."""
        return self.add(bodies.Swap(other))

    def other_content_from_offset(self, other: Buffer, n: int | None = None) -> Self:
        """Serve another object's bytes from offset `n` on; None: in every part alone."""
        return self.add(bodies.OtherContentFromOffset(other, n))

    def flip_byte(self, offset: int) -> Self:
        """Invert one byte of the object; a negative offset counts from its end."""
        return self.add(bodies.FlipByte(offset))

    def zero_fill(self, n: int = 0) -> Self:
        """Send zeros from offset `n` of the object on."""
        return self.add(bodies.ZeroFill(n))

    def append(self, n: int) -> Self:
        """Send `n` bytes more than the object has."""
        return self.add(bodies.Append(n))

    def infinite_body(self, cap: int = 1 << 30) -> Self:
        """Go on after the true body, up to `cap` bytes."""
        return self.add(bodies.InfiniteBody(cap))

    # lengths and framing

    def wrong_content_length(self, delta: int) -> Self:
        """State a length that is off by `delta`."""
        return self.add(lengths.WrongContentLength(delta))

    def head_content_length(self, delta: int) -> Self:
        """State a length in the answer to a HEAD that is off by `delta`."""
        return self.add(lengths.HeadContentLength(delta))

    def content_length_text(self, value: str) -> Self:
        """State the length in raw text."""
        return self.add(lengths.ContentLengthText(value))

    def two_content_lengths(self, delta: int = 1, *, joined: bool = False) -> Self:
        """State the true length, and a second one that is off by `delta`."""
        return self.add(lengths.TwoContentLengths(delta, joined))

    def no_content_length(self) -> Self:
        """State no length: the end of the connection ends the body."""
        return self.add(lengths.NoContentLength())

    def chunked(self) -> Self:
        """Send the body in chunks, without Content-Length."""
        return self.add(lengths.Chunked())

    def chunked_with_content_length(self, delta: int = 0) -> Self:
        """Send the body in chunks, and state a length all the same."""
        return self.add(lengths.ChunkedWithContentLength(delta))

    def chunk_extension(self, text: str = ";seen=yes") -> Self:
        """Send the body in chunks, with this text after the size of each."""
        return self.add(lengths.ChunkExtension(text))

    def broken_chunk_size(self, n: int = 0, text: str = "xyz") -> Self:
        """Send `n` bytes in chunks, then a chunk whose size is this text."""
        return self.add(lengths.BrokenChunkSize(n, text))

    def trailer(self, name: str, value: str) -> Self:
        """Say a header after the body."""
        return self.add(lengths.Trailer(name, value))

    # codings

    def content_encode(self, coding: str = "gzip", *, always: bool = False) -> Self:
        """Code the body truly, where the client accepts it (or `always`)."""
        return self.add(codings.ContentEncode(coding, always))

    def content_encoding_label(self, value: str) -> Self:
        """Say that the body is in this coding, and leave it as it is."""
        return self.add(codings.ContentEncodingLabel(value))

    # ranges

    def range_ignored(self) -> Self:
        """Answer a Range request with 200 and the whole object."""
        return self.add(ranges.RangeIgnored())

    def range_status(self, code: int = 416) -> Self:
        """Answer a Range request with this status."""
        return self.add(ranges.RangeStatus(code))

    def range_416_at_end(self, n: int = 1) -> Self:
        """Answer 416 to a Range that begins within the last `n` bytes."""
        return self.add(ranges.Range416AtEnd(n))

    def range_wrong_offset(self, delta: int, *, labelled: bool = True) -> Self:
        """Answer a Range request with a part that begins `delta` bytes off."""
        return self.add(ranges.RangeWrongOffset(delta, labelled))

    def range_short(self, n: int, *, labelled: bool = True) -> Self:
        """Answer a Range request with a part that ends `n` bytes too early."""
        return self.add(ranges.RangeShort(n, labelled))

    def range_overlong(self, n: int, *, labelled: bool = True) -> Self:
        """Answer a Range request with a part that ends `n` bytes too late."""
        return self.add(ranges.RangeOverlong(n, labelled))

    def partial_body(self) -> Self:
        """Answer a Range request with the part and its Content-Range, and say 200."""
        return self.add(ranges.PartialBody())

    def partial_no_content_range(self) -> Self:
        """Answer 206 without Content-Range."""
        return self.add(ranges.PartialNoContentRange())

    def content_range_total(self, total: str = "wrong") -> Self:
        """Say another total length in Content-Range: "*", "wrong", or any text."""
        return self.add(ranges.ContentRangeTotal(total))

    def unasked_partial(self, n: int | None = None) -> Self:
        """Answer 206 to a GET without Range: the first `n` bytes, or all."""
        return self.add(ranges.UnaskedPartial(n))

    def accept_ranges(self, value: str | None) -> Self:
        """Say this in Accept-Ranges, or nothing."""
        return self.add(ranges.AcceptRanges(value))

    def if_range_ignored(self) -> Self:
        """Serve the part, though If-Range says that the object has changed."""
        return self.add(ranges.IfRangeIgnored())

    def multirange(self, form: int | str = "multipart") -> Self:
        """Answer several ranges at once: 200, 400, 416, "multipart" or "first_range_only"."""
        return self.add(ranges.Multirange(form))
