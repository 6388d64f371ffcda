"""What the journal holds: connections, and exchanges of one request and its answer each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fakeregistry.messages import Facts, Kind, header_of

from .secrets import SecretSeen

Ended = Literal["open", "complete", "fin", "rst", "client_gone", "stopped", "rst_stream", "goaway"]
"""How an exchange ended: still under way, whole, cut by FIN (on HTTP/2: by the stream's good end),
cut by RST, left by the client, ended because the registry stopped, cut by RST_STREAM, or by GOAWAY
(which HTTP/2 alone has)."""


@dataclass(slots=True)
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
    rules: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Times:
    """When things happened; None: not yet, or never."""

    opened: float
    head: float | None = None
    first_byte: float | None = None
    last_byte: float | None = None
    ended: float | None = None


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Secrets stand in it as fingerprints only.

    `due` counts the body bytes as `bytes_sent` does, and those that are just being sent; `leaving`
    says that these are the last ones. `stream` is the number of its HTTP/2 stream; `code` names the
    error code by which that was cut, by us or by the client.
    """

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
    due: int = 0
    leaving: bool = False
    stream: int | None = None
    code: str | None = None

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
        del document["due"], document["leaving"]
        document["connection"] = self.connection.id
        for name in ("tls", "alpn", "sni", "client_certificate"):
            document[name] = getattr(self.connection, name)
        document["kind"] = self.kind
        document["times"] = {
            name: value if value is None else round(value, 6)
            for name, value in document["times"].items()
        }
        return document
