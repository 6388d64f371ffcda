"""The journal: one exchange per request, one record per connection, as they truly went.

An exchange stands in the journal from its beginning, so that a stalled one is visible. Times are
seconds since the journal began, on the monotonic clock.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from .messages import Facts, Headers, Kind, Request, header_of
from .secrets import Secrets, SecretSeen
from .targets import Target

Ended = Literal["open", "complete", "fin", "rst", "client_gone", "stopped"]
"""How an exchange ended: still under way, whole, cut by FIN, cut by RST, left by the client, or
ended because the registry stopped."""


@dataclass
class Connection:
    """One connection, also where no request came of it."""

    id: int
    registry: str
    peer: str
    opened: float
    closed: float | None = None
    tls: str | None = None
    alpn: str | None = None
    sni: str | None = None
    client_certificate: str | None = None
    failure: str | None = None
    requests: int = 0


@dataclass
class Times:
    """When things happened; None: not yet, or never."""

    opened: float
    head: float | None = None
    first_byte: float | None = None
    last_byte: float | None = None
    ended: float | None = None


@dataclass
class Exchange:
    """One request and its answer. Secrets stand in it as fingerprints only."""

    number: int
    registry: str
    connection: Connection
    scheme: Literal["http", "https"]
    method: str
    target: str
    host: str
    request_headers: list[tuple[str, str]]
    request_body_size: int
    form: str | None
    facts: Facts
    times: Times
    secrets: list[SecretSeen] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    status: int | None = None
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    bytes_sent: int = 0
    ended: Ended = "open"

    def __repr__(self) -> str:
        return (
            f"<Exchange {self.number} {self.registry} {self.method} {self.target}"
            f" {self.status} {self.bytes_sent} bytes {self.ended}>"
        )

    @property
    def kind(self) -> Kind:
        """What the request was about."""
        return self.facts.kind

    @property
    def digest(self) -> str | None:
        """The digest asked for, or the one that the tag pointed at."""
        return self.facts.digest

    @property
    def repository(self) -> str | None:
        """The repository asked for."""
        return self.facts.repository

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query as sent, secrets hidden."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the first request header of that name, or None."""
        return header_of(tuple(self.request_headers), name)

    def response_header(self, name: str) -> str | None:
        """Return the first response header of that name, or None."""
        return header_of(tuple(self.response_headers), name)

    def to_dict(self) -> dict[str, Any]:
        """Return the exchange as plain data, for NDJSON."""
        document = asdict(self)
        document["connection"] = self.connection.id
        for name in ("tls", "alpn", "sni", "client_certificate"):
            document[name] = getattr(self.connection, name)
        document["kind"] = self.kind
        document["times"] = {
            name: value if value is None else round(value, 6)
            for name, value in document["times"].items()
        }
        return document


class Journal:
    """All exchanges and connections of one topology, in the order of their beginnings."""

    def __init__(self, secrets: Secrets | None = None, limit: int = 100_000) -> None:
        self.secrets = secrets or Secrets()
        self.limit = limit
        self.began = datetime.now(UTC)
        self._start = time.monotonic()
        self._changed = threading.Condition()
        self._exchanges: list[Exchange] = []
        self._connections: list[Connection] = []
        self._opened = 0
        self._numbered = 0

    def __len__(self) -> int:
        return len(self._exchanges)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.exchanges())

    def now(self) -> float:
        """Seconds since the journal began."""
        return time.monotonic() - self._start

    # written by the wire

    def connect(self, registry: str, peer: str) -> Connection:
        """Begin the record of a connection."""
        with self._changed:
            self._opened += 1
            connection = Connection(self._opened, registry, peer, self.now())
            if len(self._connections) < self.limit:
                self._connections.append(connection)
            self._changed.notify_all()
            return connection

    def begin(
        self, request: Request, facts: Facts, connection: Connection, *, kept: bool = True
    ) -> Exchange:
        """Begin the record of an exchange, with every secret hidden; `kept` False forgets it."""
        seen: list[SecretSeen] = []

        def note(names: list[str], where: str) -> None:
            seen.extend(SecretSeen(name, where, request.scheme) for name in names)

        headers = []
        for name, value in request.headers:
            text, names = self.secrets.redact_header(name, value)
            note(names, f"header:{name.title()}")
            headers.append((name, text))
        path, names = self.secrets.redact(request.target.partition("?")[0])
        note(names, "path")
        target = path
        if "?" in request.target:
            query, names = self.secrets.redact_form(request.raw_query)
            note(names, "query")
            target += "?" + query
        form: str | None = None
        kind = (request.header("content-type") or "").lower()
        if facts.kind == "token" or kind.startswith("application/x-www-form-urlencoded"):
            form, names = self.secrets.redact_form(request.body[:65536].decode("utf-8", "replace"))
            note(names, "body")
        with self._changed:
            connection.requests += 1
            exchange = Exchange(
                number=self._numbered + 1,
                registry=connection.registry,
                connection=connection,
                scheme=request.scheme,
                method=request.method,
                target=target,
                host=header_of(tuple(headers), "host") or "",
                request_headers=headers,
                request_body_size=len(request.body),
                form=form or None,
                facts=self._shown(facts),
                times=Times(self.now()),
                secrets=seen,
            )
            if kept and len(self._exchanges) < self.limit:
                self._numbered += 1
                self._exchanges.append(exchange)
            self._changed.notify_all()
            return exchange

    def _shown(self, facts: Facts) -> Facts:
        """Return the facts with every secret hidden: they quote the path."""

        def shown(text: str | None) -> str | None:
            return text if text is None else self.secrets.redact(text)[0]

        return replace(
            facts,
            repository=shown(facts.repository),
            tag=shown(facts.tag),
            digest=shown(facts.digest),
        )

    def head(self, exchange: Exchange, status: int, headers: Headers) -> None:
        """Record what the head said."""
        shown = [(name, self.secrets.redact(value)[0]) for name, value in headers]
        with self._changed:
            exchange.status = status
            exchange.response_headers = shown
            exchange.times.head = self.now()
            self._changed.notify_all()

    def sent(self, exchange: Exchange, count: int) -> None:
        """Record that so many bytes of the body went out."""
        with self._changed:
            now = self.now()
            exchange.bytes_sent += count
            if exchange.times.first_byte is None:
                exchange.times.first_byte = now
            exchange.times.last_byte = now
            self._changed.notify_all()

    def end(self, exchange: Exchange, how: Ended) -> None:
        """Record the end of an exchange, once."""
        with self._changed:
            if exchange.ended == "open":
                exchange.ended = how
                exchange.times.ended = self.now()
                self._changed.notify_all()

    def close(self, connection: Connection, failure: str | None = None) -> None:
        """Record the end of a connection."""
        with self._changed:
            connection.closed = self.now()
            connection.failure = connection.failure or failure
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget every exchange and every closed connection; numbers go on where they were."""
        with self._changed:
            self._exchanges.clear()
            self._connections = [one for one in self._connections if one.closed is None]
            self._changed.notify_all()

    # read by everybody

    def exchanges(
        self,
        target: Target | None = None,
        *,
        registry: str | None = None,
        kind: Kind | None = None,
        where: Callable[[Exchange], bool] | None = None,
    ) -> list[Exchange]:
        """Return the exchanges that match, in order."""
        with self._changed:
            exchanges = list(self._exchanges)
        return [
            exchange
            for exchange in exchanges
            if (target is None or target.matches(exchange.facts))
            and (registry is None or exchange.registry == registry)
            and (kind is None or exchange.kind == kind)
            and (where is None or where(exchange))
        ]

    @property
    def connections(self) -> list[Connection]:
        """All connections, in order."""
        with self._changed:
            return list(self._connections)

    def wait_for(self, predicate: Callable[[Journal], object], timeout: float = 10.0) -> bool:
        """Wait until a judgement of the journal is true; False after `timeout` seconds."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: bool(predicate(self)), timeout))

    def wait_quiet(self, timeout: float = 10.0) -> bool:
        """Wait until no exchange is open; False after `timeout` seconds."""
        return self.wait_for(lambda _: all(e.ended != "open" for e in self._exchanges), timeout)

    def to_ndjson(self) -> str:
        """Return one line of JSON per exchange."""
        with self._changed:
            documents = [exchange.to_dict() for exchange in self._exchanges]
        return "".join(json.dumps(document, separators=(",", ":")) + "\n" for document in documents)

    def to_har(self) -> dict[str, Any]:
        """Return the journal as an HTTP archive (HAR 1.2)."""
        from .har import to_har

        return to_har(self)
