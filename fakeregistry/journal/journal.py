"""The journal: one exchange per request, one record per connection, as they truly went.

An exchange stands in the journal from its beginning, so that a stalled one is visible. Times are
seconds since the journal began, on the monotonic clock.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from fakeregistry.messages import Facts, Headers, Kind, Request, header_of
from fakeregistry.rules.targets import Target

from .exchange import Connection, Ended, Exchange, Times
from .hiding import Hiding
from .secrets import Secrets

_SIZE_LIMIT = 64 << 20


class Journal:
    """All exchanges and connections of one topology, in the order of their beginnings.

    Beyond `limit`, or beyond so many characters that their requests need more than 64 MiB, the
    oldest are forgotten, and `forgotten` says how many.
    """

    def __init__(self, secrets: Secrets | None = None, limit: int = 100_000) -> None:
        self.secrets = secrets or Secrets()
        self.limit = limit
        self.forgotten = 0
        self.began = datetime.now(UTC)
        self._start = time.monotonic()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._hiding = Hiding(self.secrets)
        self._exchanges: deque[Exchange] = deque()
        self._sizes: deque[int] = deque()
        self._size = 0
        self._open: dict[int, Exchange] = {}
        self._connections: deque[Connection] = deque()
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

    def _tell(self) -> None:
        """Wake who waits for a change, which is mostly nobody."""
        if self._waiting:
            self._changed.notify_all()

    def connect(self, registry: str, peer: str) -> Connection:
        """Begin the record of a connection."""
        with self._lock:
            self._opened += 1
            connection = Connection(self._opened, registry, peer, self.now())
            self._connections.append(connection)
            if len(self._connections) > self.limit:
                self._connections.popleft()
            self._tell()
            return connection

    def begin(
        self, request: Request, facts: Facts, connection: Connection, *, kept: bool = True
    ) -> Exchange:
        """Begin the record of an exchange, with every secret hidden; `kept` False forgets it."""
        hidden = self._hiding.request_headers(request.headers)
        target, shown, in_target = self._hiding.target(request, facts)
        form, in_form = self._hiding.form(request, facts)
        with self._lock:
            connection.requests += 1
            exchange = Exchange(
                number=self._numbered + 1,
                registry=connection.registry,
                connection=connection,
                scheme=request.scheme,
                method=request.method,
                target=target,
                host=header_of(hidden.headers, "host") or "",
                request_headers=list(hidden.headers),
                request_body_size=len(request.body),
                form=form,
                facts=shown,
                times=Times(self.now()),
                secrets=self._hiding.seen_over(request.scheme, hidden.seen, in_target, in_form),
            )
            if kept and self.limit > 0:
                self._numbered += 1
                self._keep(exchange, hidden.size + len(target) + len(form or ""))
            self._tell()
            return exchange

    def _keep(self, exchange: Exchange, size: int) -> None:
        """Keep an exchange; what is too old for it goes."""
        self._exchanges.append(exchange)
        self._sizes.append(size)
        self._size += size
        self._open[exchange.number] = exchange
        while len(self._exchanges) > self.limit or self._size > _SIZE_LIMIT:
            self._open.pop(self._exchanges.popleft().number, None)
            self._size -= self._sizes.popleft()
            self.forgotten += 1

    def head(self, exchange: Exchange, status: int, headers: Headers) -> None:
        """Record what the head said."""
        hidden = self._hiding.answer_headers(headers)
        with self._lock:
            exchange.status = status
            exchange.response_headers = list(hidden.headers)
            exchange.times.head = self.now()
            self._tell()

    def sent(self, exchange: Exchange, count: int) -> None:
        """Record that so many bytes of the body went out."""
        with self._lock:
            now = self.now()
            exchange.bytes_sent += count
            if exchange.times.first_byte is None:
                exchange.times.first_byte = now
            exchange.times.last_byte = now
            self._tell()

    def end(self, exchange: Exchange, how: Ended) -> None:
        """Record the end of an exchange, once."""
        with self._lock:
            if exchange.ended == "open":
                exchange.ended = how
                exchange.times.ended = self.now()
                if self._open.get(exchange.number) is exchange:
                    del self._open[exchange.number]
                self._tell()

    def close(self, connection: Connection, failure: str | None = None) -> None:
        """Record the end of a connection."""
        with self._lock:
            connection.closed = self.now()
            connection.failure = connection.failure or failure
            self._tell()

    def clear(self) -> None:
        """Forget every exchange and every closed connection; numbers go on where they were."""
        with self._lock:
            self._exchanges.clear()
            self._sizes.clear()
            self._open.clear()
            self._size = 0
            self.forgotten = 0
            self._connections = deque(one for one in self._connections if one.closed is None)
            self._tell()

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
        with self._lock:
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
        with self._lock:
            return list(self._connections)

    def wait_for(self, predicate: Callable[[Journal], object], timeout: float = 10.0) -> bool:
        """Wait until a judgement of the journal is true; False after `timeout` seconds."""
        with self._changed:
            self._waiting += 1
            try:
                return bool(self._changed.wait_for(lambda: bool(predicate(self)), timeout))
            finally:
                self._waiting -= 1

    def wait_quiet(self, timeout: float = 10.0) -> bool:
        """Wait until no exchange is open; False after `timeout` seconds."""
        return self.wait_for(lambda _: not self._open, timeout)

    def to_ndjson(self) -> str:
        """Return one line of JSON per exchange."""
        with self._lock:
            documents = [exchange.to_dict() for exchange in self._exchanges]
        return "".join(json.dumps(document, separators=(",", ":")) + "\n" for document in documents)

    def to_har(self) -> dict[str, Any]:
        """Return the journal as an HTTP archive (HAR 1.2)."""
        from .har import to_har

        return to_har(self)


__all__ = ["Connection", "Ended", "Exchange", "Journal", "Times"]
