"""The verbs of a rule that HTTP/2 alone has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from fakeregistry.faults import Fault
from fakeregistry.faults import http2 as h


class HTTP2Verbs(ABC):
    """One method for each fault of `faults.http2`; on HTTP/1.1 they change nothing."""

    @abstractmethod
    def add(self, *faults: Fault) -> Self:
        """Add faults; they act in the order in which they were added."""

    def rst_stream(self, code: str = "INTERNAL_ERROR", after: int | None = None) -> Self:
        """Send `after` bytes of the body (None: no head), then RST_STREAM."""
        return self.add(h.RstStream(code, after))

    def refused_stream(self) -> Self:
        """Refuse the stream: nothing was done, and the client may ask again."""
        return self.add(h.RefusedStream())

    def http_1_1_required(self, how: str = "rst_stream") -> Self:
        """Say HTTP_1_1_REQUIRED, by rst_stream or by goaway."""
        return self.add(h.Http11Required(how))

    def goaway(
        self,
        code: str = "NO_ERROR",
        after: int | None = None,
        last_id: str = "current",
        then: str = "close",
    ) -> Self:
        """Send `after` bytes of the body (None: no head), then GOAWAY; close, finish or stay."""
        return self.add(h.Goaway(code, after, last_id, then))

    def zero_window(
        self, n: int = 0, seconds: float | None = None, *, whole_connection: bool = False
    ) -> Self:
        """Send `n` bytes of the body, then none for `seconds`, as if the window were zero."""
        return self.add(h.ZeroWindow(n, seconds, whole_connection))

    # on accept

    def max_concurrent_streams(self, n: int) -> Self:
        """Allow `n` requests at once on a connection."""
        return self.add(h.MaxConcurrentStreams(n))

    def zero_request_window(self, seconds: float | None = None) -> Self:
        """Give the client no window to send request bodies in; None: until released."""
        return self.add(h.ZeroRequestWindow(seconds))
