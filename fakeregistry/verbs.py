"""The verbs of a rule: one method for each fault, named and parameterised as in `faults.FAULTS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from . import faults as f
from .messages import Buffer

if TYPE_CHECKING:
    from .registry import Registry


class Verbs:
    """What a rule can do to an answer; each method adds one fault and returns the rule."""

    def __init__(self) -> None:
        self.faults: tuple[f.Fault, ...] = ()
        self.edits: tuple[f.AnswerFault, ...] = ()
        self.greets: tuple[f.ConnectionFault, ...] = ()

    @property
    def on_connection(self) -> bool:
        """Whether the rule is about connections, and not about requests."""
        return False

    def add(self, *faults: f.Fault) -> Self:
        """Add faults; they act in the order in which they were added.

        Raises ValueError for a fault on answers where connections are meant, and the reverse.
        """
        for fault in faults:
            problem = f.misplaced(fault, on_connection=self.on_connection)
            if problem is not None:
                raise ValueError(f"{f.name_of(fault)}: {problem}")
            known: Any = fault
            if self.on_connection:
                self.greets = (*self.greets, known)
            else:
                self.edits = (*self.edits, known)
            self.faults = (*self.faults, fault)
        return self

    def status(
        self, code: int, body: str | bytes | None = None, retry_after: int | str | None = None
    ) -> Self:
        """Answer with a status and an OCI error body (or `body`)."""
        return self.add(f.Status(code, body, retry_after))

    def too_many_requests(self, retry_after: int | str | None = 1) -> Self:
        """Answer 429 with Retry-After."""
        return self.add(f.TooManyRequests(retry_after))

    def header(self, name: str, value: str) -> Self:
        """Set a header."""
        return self.add(f.Header(name, value))

    def drop_header(self, name: str) -> Self:
        """Leave a header away."""
        return self.add(f.DropHeader(name))

    def digest_header(self, value: str | None) -> Self:
        """Set Docker-Content-Digest; None drops it, "wrong" is a well-formed lie."""
        return self.add(f.DigestHeader(value))

    def content_type(self, value: str | None) -> Self:
        """Set the Content-Type; None drops it."""
        return self.add(f.ContentType(value))

    def body(self, data: bytes | str, content_type: str | None = None) -> Self:
        """Say these bytes instead, with a true length."""
        return self.add(f.Body(data, content_type))

    def swap(self, other: Buffer) -> Self:
        """Serve another object's bytes under this object's name."""
        return self.add(f.Swap(other))

    def error_body(
        self,
        code: str = "UNKNOWN",
        message: str = "unknown error",
        detail: object = None,
        form: str = "oci",
    ) -> Self:
        """Give an error answer another body: form oci, html, text, empty or huge."""
        return self.add(f.ErrorBody(code, message, detail, form))

    def append(self, n: int) -> Self:
        """Send `n` bytes more than the object has."""
        return self.add(f.Append(n))

    def infinite_body(self, cap: int = 1 << 30) -> Self:
        """Go on after the true body, up to `cap` bytes."""
        return self.add(f.InfiniteBody(cap))

    def flip_byte(self, offset: int) -> Self:
        """Invert one byte of the object; a negative offset counts from its end."""
        return self.add(f.FlipByte(offset))

    def delay_headers(self, seconds: float | None = None) -> Self:
        """Say nothing before the status line for `seconds`; None: until released."""
        return self.add(f.DelayHeaders(seconds))

    def stall_after(self, n: int, seconds: float | None = None) -> Self:
        """Send `n` bytes of the body, then nothing for `seconds`; None: until released."""
        return self.add(f.StallAfter(n, seconds))

    def throttle(self, bytes_per_second: int) -> Self:
        """Send the body at about this rate."""
        return self.add(f.Throttle(bytes_per_second))

    def drip(self, size: int = 1, every: float = 1.0) -> Self:
        """Send `size` bytes, wait `every` seconds, and so on."""
        return self.add(f.Drip(size, every))

    def truncate_after(self, n: int, *, terminated: bool = False) -> Self:
        """Promise the whole body, send `n` bytes, and close in good order."""
        return self.add(f.TruncateAfter(n, terminated))

    def close_after(self, n: int = 0) -> Self:
        """Send `n` bytes of the body, then FIN alone."""
        return self.add(f.CloseAfter(n))

    def reset_after(self, n: int = 0) -> Self:
        """Send `n` bytes of the body, then RST."""
        return self.add(f.ResetAfter(n))

    def reset_before_headers(self) -> Self:
        """Read the request, then RST without a word."""
        return self.add(f.ResetBeforeHeaders())

    def wrong_content_length(self, delta: int) -> Self:
        """State a length that is off by `delta`."""
        return self.add(f.WrongContentLength(delta))

    def no_content_length(self) -> Self:
        """State no length: the end of the connection ends the body."""
        return self.add(f.NoContentLength())

    def chunked(self) -> Self:
        """Send the body in chunks, without Content-Length."""
        return self.add(f.Chunked())

    def range_ignored(self) -> Self:
        """Answer a Range request with 200 and the whole object."""
        return self.add(f.RangeIgnored())

    def range_status(self, code: int = 416) -> Self:
        """Answer a Range request with this status."""
        return self.add(f.RangeStatus(code))

    def range_wrong_offset(self, delta: int, *, labelled: bool = True) -> Self:
        """Answer a Range request with a part that begins `delta` bytes off."""
        return self.add(f.RangeWrongOffset(delta, labelled))

    def partial_no_content_range(self) -> Self:
        """Answer 206 without Content-Range."""
        return self.add(f.PartialNoContentRange())

    def redirect(
        self, to: Registry | str | None = None, code: int = 307, path: str | None = None
    ) -> Self:
        """Send the client to another registry (or a URL), which serves the very same object."""
        name = to if to is None or isinstance(to, str) else to.name
        return self.add(f.Redirect(name, code, path))
