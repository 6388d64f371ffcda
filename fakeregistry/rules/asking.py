"""What is asked, as conditions see it: a request that is live or in the journal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

from fakeregistry.honest.parts import ranges_of
from fakeregistry.messages import Facts, Request

if TYPE_CHECKING:
    from fakeregistry.journal.journal import Connection, Exchange


@dataclass(frozen=True)
class Ranged:
    """A form of Range request: its first byte, its last one, the last n bytes, or several ranges.

    `end` "open" means `bytes=5-`. Only one range can have a start, an end or be a suffix.
    """

    start: int | None = None
    end: int | Literal["open"] | None = None
    suffix: int | None = None
    multirange: bool | None = None

    def __post_init__(self) -> None:
        for name in ("start", "end", "suffix"):
            value = getattr(self, name)
            number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            if value is not None and not number and not (name == "end" and value == "open"):
                wanted = "a number of bytes" + (' or "open"' if name == "end" else "")
                raise ValueError(f"range: {name} = {value!r}: it must be {wanted}")
        if self.multirange is not None and not isinstance(self.multirange, bool):
            raise ValueError(f"range: multirange = {self.multirange!r}: it must be true or false")
        bounded = self.start is not None or self.end is not None
        if self.suffix is not None and bounded:
            raise ValueError("range: suffix excludes start and end")
        if self.multirange and (bounded or self.suffix is not None):
            raise ValueError("range: multirange excludes start, end and suffix")

    def accepts(self, text: str) -> bool:
        """Whether a Range header has this form."""
        ranges = ranges_of(Request("GET", "/", (("Range", text),)))
        if self.multirange is not None and (len(ranges) > 1) != self.multirange:
            return False
        if (self.start, self.end, self.suffix) == (None, None, None):
            return bool(ranges)
        if len(ranges) != 1:
            return False
        first, last = ranges[0]
        if self.suffix is not None:
            return first is None and last == self.suffix
        if first is None or self.start not in (None, first):
            return False
        return self.end is None or self.end == ("open" if last is None else last)

    @property
    def words(self) -> str:
        """The form as a person says it."""
        if self.multirange:
            return "with several ranges"
        if self.suffix is not None:
            return f"with a range of the last {self.suffix} bytes"
        said = "with one range" if self.multirange is False else "with a range"
        if self.start is not None:
            said += f" from byte {self.start}"
        if self.end is not None:
            said += " without an end" if self.end == "open" else f" to byte {self.end}"
        return said


@dataclass(frozen=True)
class Asked:
    """A request as conditions see it, live or from the journal.

    `raw_query` is as sent. `client` tells clients apart: the address without its port, and the
    User-Agent. `subject` gives the user's name, where one is known.
    """

    method: str
    headers: Sequence[tuple[str, str]] = ()
    raw_query: str = ""
    facts: Facts = field(default_factory=Facts)
    h2: bool = False
    connection: int = 0
    peer: str = ""
    subject: Callable[[], str | None] = lambda: None

    @classmethod
    def live(
        cls,
        request: Request,
        facts: Facts,
        connection: Connection,
        subject: Callable[[], str | None],
    ) -> Asked:
        """What is asked now, on a connection."""
        return cls(
            request.method,
            request.headers,
            request.raw_query,
            facts,
            connection.alpn == "h2",
            connection.id,
            connection.peer,
            subject,
        )

    @classmethod
    def recorded(cls, exchange: Exchange) -> Asked:
        """What was asked, as the journal has it: secrets, and so the user, are hidden."""
        connection = exchange.connection
        return cls(
            exchange.method,
            exchange.request_headers,
            exchange.query,
            exchange.facts,
            connection.alpn == "h2",
            connection.id,
            connection.peer,
        )

    @property
    def client(self) -> str:
        """Who asks, as far as a registry can tell without credentials."""
        return f"{self.peer.rpartition(':')[0]} {next(self.header('user-agent'), '')}"

    def header(self, name: str) -> Iterator[str]:
        """Every value of a header, in order."""
        wanted = name.lower()
        return (value for key, value in self.headers if key.lower() == wanted)

    @property
    def query(self) -> Mapping[str, str]:
        """The first value of each name in the query."""
        try:
            pairs = parse_qsl(self.raw_query, keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            return {}
        return dict(reversed(pairs))

    @property
    def accepted(self) -> frozenset[str]:
        """The media types that Accept names, in lower case; not those of quality 0."""
        found = set()
        for line in self.header("accept"):
            for item in line.split(","):
                kind, *parameters = (part.strip().lower() for part in item.split(";"))
                if not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters):
                    found.add(kind)
        return frozenset(found)

    @property
    def authz(self) -> str:
        """The scheme of Authorization in lower case; "none" without one."""
        value = next(self.header("authorization"), None)
        return "none" if value is None else value.strip().partition(" ")[0].lower()
