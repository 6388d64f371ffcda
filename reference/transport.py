"""Requests and answers: one hop or, along redirects, several; bodies as they come.

What belongs to one host stays with it. An `Ask` keeps the headers that any server may see (Accept,
Range, User-Agent) apart from those of this host alone (Authorization, configured headers), and a
redirect to another host drops the latter, the client certificate, and a switched-off verification.
"""

from __future__ import annotations

import re
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import cast
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx

from reference import __version__
from reference.config import Config
from reference.errors import (
    BodyError,
    ConnectionLost,
    RedirectError,
    Silent,
    TLSError,
    TransportError,
    safe_url,
)
from reference.hosts import is_localhost
from reference.http2 import CutByServer, Lines, Patient
from reference.progress import Cancellation, ProgressReporter
from reference.proxies import check_proxy, environment_proxy
from reference.tls import TLSOptions, Trust
from reference.tracing import RequestSpan, RequestSpans
from reference.wire import Sockets, Wire

USER_AGENT = f"refpull/{__version__}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SMALL_BODY = 16 * 1024
_DECODED = 256 * 1024
_UNKNOWN_ISSUER = frozenset({18, 19, 20, 21})  # X509_V_ERR_*: no chain to a root that is trusted
HTTP1_REQUIRED = "HTTP_1_1_REQUIRED"
"""What a server says that wants this very request by HTTP/1.1 (RFC 9113, 7)."""
_LENGTH = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True)
class Ask:
    """One request, before anybody has been asked."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """What any server may see, also behind a redirect."""
    private: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What only this very host may see."""
    tls: TLSOptions = field(default_factory=TLSOptions)
    body: bytes | None = field(default=None, repr=False)
    dial_timeout: float | None = None
    patience: float | None = None
    """Seconds that any wait for this answer may take, also for more of its body; None leaves the
    head to the configuration's limits, and the body to the progress timeout."""
    redirected: Callable[[Ask], Ask] | None = field(default=None, repr=False)
    """What is made of the request for where a redirect leads; None leaves it as it is."""

    @property
    def authority(self) -> str:
        """Host and port of the URL."""
        return urlsplit(self.url).netloc

    @property
    def scheme(self) -> str:
        """http or https."""
        return urlsplit(self.url).scheme


class Answer:
    """A server's answer: status and headers at once, the body by `chunks` or `read`.

    Always to be closed (it is a context manager). The request counts as active until the body has
    come to its end or the answer is closed.
    """

    def __init__(
        self, ask: Ask, response: httpx.Response, transport: Transport, told: RequestSpan
    ) -> None:
        self.ask = ask
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._transport = transport
        self._told = told
        self._finished = False

    @property
    def content_length(self) -> int | None:
        """The promised length of the body in bytes; None when none was promised."""
        value = self.headers.get("content-length", "").strip()
        return int(value) if _LENGTH.fullmatch(value) else None

    @property
    def coding(self) -> str:
        """The Content-Encoding; empty for none."""
        value = str(self.headers.get("content-encoding", "")).strip().lower()
        return "" if value == "identity" else value

    @property
    def ends_itself(self) -> bool:
        """Whether the end of the body is told apart from a lost connection."""
        if self._response.extensions.get("http_version") == b"HTTP/2":
            return True
        chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        return chunked or self.content_length is not None

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters, in lower case; empty when absent (MAN-12)."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, without its content coding. BodyError when it breaks off."""
        if self.coding in ("gzip", "x-gzip"):
            yield from self._decoded()
        elif self.coding:
            # No BodyError: it would be the same another time.
            raise TransportError(f"{self._where()}: unsupported Content-Encoding {self.coding!r}")
        else:
            yield from self._raw()

    def raw(self) -> Iterator[bytes]:
        """The body in pieces, as it comes. BodyError when it breaks off."""
        return self._raw()

    def read(self, limit: int) -> bytes:
        """The whole body; BodyError as soon as it is longer than `limit` bytes."""
        parts: list[bytes] = []
        total = 0
        for chunk in self.chunks():
            total += len(chunk)
            if total > limit:
                raise BodyError(f"{self._where()}: more than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def discard(self) -> None:
        """Close; after a small body the connection can serve the next request."""
        length = self.content_length
        if self.ask.method != "HEAD" and length is not None and length <= _SMALL_BODY:
            try:
                for _ in self._raw():
                    pass
            except BodyError:
                pass  # nobody wanted it
        self.close()

    def close(self) -> None:
        """End the request, wherever its body is."""
        if not self._finished:
            self._finished = True
            try:
                self._response.close()
            finally:
                self._told.end()
                self._transport.reporter.end()

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _raw(self) -> Iterator[bytes]:
        transport = self._transport
        try:
            for chunk in cast("httpx.SyncByteStream", self._response.stream):
                transport.reporter.received(len(chunk))
                transport.cancellation.check()
                yield chunk
        except httpx.HTTPError as error:
            self._told.end(error)
            transport.cancellation.check()
            kind = Silent if isinstance(error, httpx.TimeoutException) else BodyError
            raise kind(f"{self._where()}: the body broke off ({error})") from error
        finally:
            # The end of the body, not the last use of it, ends the request: what is done with the
            # bytes afterwards (a slow disk) must not look like a stalled registry (PROG-13).
            self.close()
        transport.cancellation.check()

    def _decoded(self) -> Iterator[bytes]:
        decoder = zlib.decompressobj(wbits=31)
        try:
            for chunk in self._raw():
                while chunk:
                    yield decoder.decompress(chunk, _DECODED)
                    chunk = decoder.unconsumed_tail
            yield decoder.flush()
        except zlib.error:
            raise BodyError(f"{self._where()}: the body isn't gzip as it says") from None
        if not decoder.eof:
            raise BodyError(f"{self._where()}: the gzip coding of the body broke off")

    def _where(self) -> str:
        return safe_url(self.ask.url)


class Transport:
    """Sends the requests of one pull. A context manager: the connections end with it."""

    patient = Patient

    def __init__(
        self, config: Config, cancellation: Cancellation, reporter: ProgressReporter
    ) -> None:
        self.config = config
        self.quirks = config.quirks
        self.cancellation = cancellation
        self.reporter = reporter
        self.sockets = Sockets(config.tls_handshake_timeout)
        self._lock = threading.Lock()
        self._wires: dict[tuple[TLSOptions | None, str | None, bool], httpx.BaseTransport] = {}
        self._old: set[str] = set()
        self._trusts: dict[TLSOptions, Trust] = {}
        self._open = ExitStack()
        self.spans = RequestSpans()

    def send(self, ask: Ask) -> Answer:
        """Ask, and follow redirects (GET and HEAD only); the answer may have any other status."""
        for _ in range(self.config.max_redirects + 1):
            answer = self.hop(ask)
            if ask.method == "POST" or answer.status not in _REDIRECTS:
                return answer
            answer.discard()
            ask = self.redirected(ask, answer)
            ask = ask.redirected(ask) if ask.redirected else ask
        raise RedirectError(f"stopped after {self.config.max_redirects} redirects")

    def redirected(self, ask: Ask, answer: Answer) -> Ask:
        """The request for where `answer` points to."""
        location = answer.headers.get("location")
        if not location:
            raise RedirectError(f"{safe_url(ask.url)}: {answer.status} without Location")
        try:
            target = replace(ask, url=urldefrag(urljoin(ask.url, location)).url)
            known = target.scheme in ("http", "https") and bool(urlsplit(target.url).hostname)
        except ValueError:
            known = False
        if not known:
            raise RedirectError(f"{safe_url(ask.url)}: redirect to something that isn't http(s)")
        if not self.may_follow(ask, target):
            raise RedirectError(
                f"{safe_url(ask.url)}: refused a redirect from https to {safe_url(target.url)}"
            )
        return target if self.same_host(ask, target) else self.for_other_host(target)

    def may_follow(self, ask: Ask, target: Ask) -> bool:
        """Whether a redirect may be followed: never from https to http (NET-16)."""
        secure = ask.scheme == target.scheme or target.scheme == "https"
        return secure or self.quirks.downgrades_followed

    def same_host(self, ask: Ask, target: Ask) -> bool:
        """Whether what is private to one request's host may be shown to the other's (NET-13)."""
        if (ask.scheme, ask.authority) == (target.scheme, target.authority):
            return True
        here, there = (urlsplit(each.url).hostname or "" for each in (ask, target))
        below = ask.scheme == target.scheme and there.endswith(f".{here}")
        return below and self.quirks.subdomains_are_one_host

    def for_other_host(self, target: Ask) -> Ask:
        """Take off what belongs to the host before: credentials, headers, client certificate."""
        tls = self.other_tls(target.tls, target.url)
        return replace(target, private=(), tls=tls, dial_timeout=None)

    def other_tls(self, tls: TLSOptions, url: str) -> TLSOptions:
        """TLS for `url`, to which a host with `tls` points: its CA counts, nothing else of it."""
        pairs = tls.client_pairs if self.quirks.certificates_for_others else ()
        near = self.quirks.localhost_unverified and is_localhost(urlsplit(url).netloc)
        return TLSOptions(tls.ca_files, pairs, skip_verify=tls.skip_verify and near)

    def hop(self, ask: Ask) -> Answer:
        """Send one request to one host. TransportError when no answer begins."""
        self.cancellation.check()
        endless = self.quirks.answers_may_take_for_ever
        answer_in = self.config.response_header_timeout or None
        timeouts: dict[str, float | None] = {
            "connect": shorter(ask.dial_timeout or self.config.connect_timeout, ask.patience),
            "read": None if endless else shorter(answer_in, ask.patience),
            "write": answer_in,
            "pool": None,
        }
        request = self.request(ask, timeouts)
        self.reporter.begin()
        told = self.spans.begin(ask.method, ask.url)
        try:
            response = self.exchange(ask, request)
        except BaseException as error:
            told.end(error)
            self.reporter.end()
            self.cancellation.check()
            raise
        # The time limit was for the head; httpcore looks it up anew for each read of the body.
        timeouts["read"] = ask.patience
        told.answered(response.status_code)
        return Answer(ask, response, self, told)

    def request(self, ask: Ask, timeouts: dict[str, float | None]) -> httpx.Request:
        """The request as it goes out."""
        headers = [("User-Agent", USER_AGENT), ("Accept-Encoding", "identity")]
        headers += ask.headers.items()
        replaced = {name.lower() for name, _ in ask.private}
        headers = [header for header in headers if header[0].lower() not in replaced]
        try:
            return httpx.Request(
                ask.method,
                ask.url,
                headers=headers + list(ask.private),
                content=ask.body,
                extensions={"timeout": timeouts},
            )
        except (httpx.InvalidURL, ValueError):
            raise TransportError(f"can't make a request for {safe_url(ask.url)}") from None

    def exchange(self, ask: Ask, request: httpx.Request) -> httpx.Response:
        """Send, once more with the system's roots where the host's own CA didn't suffice."""
        while True:
            http2 = self.may_speak_http2(ask)
            wire = self.wire(ask.scheme, ask.tls, self.proxy_for(ask.url), http2=http2)
            # Before the handshake: another thread may widen what this one failed with.
            wide = self.is_wide(ask.tls)
            try:
                return wire.handle_request(request)
            except httpx.HTTPError as error:
                if http2 and self.requires_http1(error):
                    self._old.add(ask.authority)
                    continue
                cause = _tls_cause(error)
                if cause is None:
                    raise _no_answer(safe_url(ask.url), error) from error
                unknown = getattr(cause, "verify_code", 0) in _UNKNOWN_ISSUER
                if wide or not unknown:
                    raise TLSError(f"{safe_url(ask.url)}: {_tls_message(cause)}") from error
                self.trust(ask.tls).widen()

    def requires_http1(self, error: httpx.HTTPError) -> bool:
        """Whether a server wants to be asked by HTTP/1.1 instead."""
        return isinstance(error, CutByServer) and error.code == HTTP1_REQUIRED

    def may_speak_http2(self, ask: Ask) -> bool:
        """Whether HTTP/2 may be chosen: by TLS alone, and not where HTTP/1.1 was required."""
        return self.config.http2 and ask.scheme == "https" and ask.authority not in self._old

    def trust(self, tls: TLSOptions) -> Trust:
        """The TLS context for `tls`, made once."""
        with self._lock:
            if tls not in self._trusts:
                self._trusts[tls] = Trust(tls)
            return self._trusts[tls]

    def is_wide(self, tls: TLSOptions) -> bool:
        """Whether the context for `tls`, if there is one yet, has the system's roots too."""
        with self._lock:
            trust = self._trusts.get(tls)
        return trust is not None and trust.wide

    def wire(
        self, scheme: str, tls: TLSOptions, proxy: str | None, *, http2: bool = False
    ) -> httpx.BaseTransport:
        """The pool of connections for one way of TLS (none for http) and one proxy."""
        context = self.trust(tls).context if scheme == "https" else None
        key = (tls if context else None, proxy, http2)
        with self._lock:
            if key not in self._wires:
                wire: httpx.BaseTransport
                if http2:
                    patient = self.patient(self.sockets)
                    wire = Lines(lambda: Wire(patient, context, proxy, http2=True))
                else:
                    wire = Wire(self.sockets, context, proxy)
                self._wires[key] = wire
                self._open.callback(wire.close)
            return self._wires[key]

    def proxy_for(self, url: str) -> str | None:
        """The proxy to reach `url` by; this machine is always reached directly (NET-05)."""
        if is_localhost(urlsplit(url).netloc):
            return None
        if self.config.proxy:
            return check_proxy(self.config.proxy)
        found = environment_proxy(url) if self.config.trust_env else None
        return check_proxy(found) if found else None

    def __enter__(self) -> Transport:
        self._open.enter_context(self.cancellation.calling(self.sockets.abort))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


def shorter(limit: float | None, other: float | None) -> float | None:
    """The shorter of two time limits, either of which may be none."""
    return min((each for each in (limit, other) if each is not None), default=None)


def _no_answer(where: str, error: httpx.HTTPError) -> TransportError:
    if isinstance(error, httpx.LocalProtocolError):
        # Its message quotes the header, whose value may be a secret.
        return TransportError(f"{where}: can't be asked: a header isn't valid in HTTP")
    lost = isinstance(error, httpx.ReadError | CutByServer) or "disconnected" in str(error)
    late = isinstance(error, httpx.TimeoutException)
    kind = ConnectionLost if lost else Silent if late else TransportError
    return kind(f"{where}: {error or 'no answer'}")


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    # httpcore raises its errors "from None", which leaves only the context.
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _tls_message(error: ssl.SSLError) -> str:
    why = getattr(error, "verify_message", "") or (error.reason or "TLS failed")
    return why.replace("_", " ").lower() if why.isupper() else why
