"""How a registry is reached: where it listens and how, how its connections begin, and their end."""

from __future__ import annotations

import ipaddress
from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from pytest_httpserver import HTTPServer, HTTPServerError

from fakeregistry.faults import Setting
from fakeregistry.journal.journal import Connection, Exchange, Journal
from fakeregistry.messages import Request
from fakeregistry.rules.rule import Rule
from fakeregistry.script import Script

from .certificates import HTTP1, ServerCertificate
from .greeting import STREAMS, Greeting
from .listener import Listener, Listening, check_listening
from .served import How
from .watch import WATCH

if TYPE_CHECKING:
    from fakeregistry.topology import Registries

ADDRESS = "127.0.0.1"
HEAD_TIMEOUT = 60.0
"""How long a client may take to begin, to say a request's head, or to go on with its body."""
_NOT_YET = Request("", "")
HTTP2 = ("h2", *HTTP1)
"""What ALPN offers where HTTP/2 is wanted."""


class Door(HTTPServer):
    """A registry's side of its connections: addresses, listening, greeting, killing."""

    name: str
    topology: Registries
    journal: Journal
    rules: list[Rule]
    tls: ServerCertificate | None

    _listener: Listener | None = None
    _listening: Listening = "open"
    _head_timeout = HEAD_TIMEOUT
    _max_streams = STREAMS
    listen_host: str = ADDRESS
    http2 = False
    """Whether HTTP/2 is offered by ALPN, before HTTP/1.1: on new connections, with TLS alone."""

    # names

    @property
    def hostname(self) -> str:
        """The host name in references and URLs, without the port, and without brackets."""
        return self.topology.host_name(
            self.name, tls=self.tls is not None, address=self.listen_host
        )

    @property
    def host(self) -> str:
        """Host and port as typed in an image reference: `127.0.0.1:41234`, or `[::1]:41234`."""
        name = self.hostname
        return f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}"

    @host.setter
    def host(self, value: str) -> None:
        # pytest-httpserver sets the address to listen on: here that is always loopback.
        self.listen_host = value

    @property
    def certificate(self) -> ServerCertificate | None:
        """The certificate for new connections; None means plain HTTP."""
        return self.tls

    # life

    def is_running(self) -> bool:
        """Whether the registry stands, be it that it refuses every connection."""
        return self._listener is not None

    def start(self) -> None:
        """Listen; raises HTTPServerError where it already does, OSError where the port is taken."""
        if self._listener is not None:
            raise HTTPServerError("Server is already running")
        listener = Listener(self, self.topology.exposed or self.listen_host, self.port)
        self.port = listener.port
        self._listener = listener
        listener.start(self._listening)

    def stop(self) -> None:
        """Stop listening and end every connection, whatever it waits for."""
        if self._listener is None:
            raise HTTPServerError("Server is not running")
        listener, self._listener = self._listener, None
        listener.stop()
        for rule in self.rules:
            rule.close()

    @property
    def address(self) -> str:
        """The loopback address to listen on: `127.0.0.1`, or `::1` for IPv6 alone.

        Setting another one begins anew there: every connection ends, the port may be another.
        """
        return self.listen_host

    @address.setter
    def address(self, value: str) -> None:
        value = check_address(value)
        if value == self.listen_host:
            return
        running = self.is_running()
        if running:
            self.stop()
        self.listen_host = value
        if running:
            try:
                self.start()
            except OSError:
                # The port is somebody else's there.
                self.port = 0
                self.start()

    @property
    def listening(self) -> Listening:
        """How new connections are met: "open"; "refuse": by RST; "blackhole": by nothing at all.

        Can be set at any time. The port stays, and connections that stand go on: see
        `kill_connections`. A black hole needs Linux; OSError elsewhere.
        """
        return self._listening

    @listening.setter
    def listening(self, value: str) -> None:
        listening = check_listening(value)
        if self._listener is not None:
            self._listener.listen(listening)
        self._listening = listening

    @property
    def dropped(self) -> int:
        """How many attempts to connect vanished since the port is a black hole (Linux)."""
        return 0 if self._listener is None else self._listener.dropped

    @property
    def head_timeout(self) -> float:
        """How many seconds a client may be idle, or take for a request's head, before it is cut.

        The same for a TLS handshake, and for a pause inside a request's body. `inf`: for ever.
        """
        return self._head_timeout

    @head_timeout.setter
    def head_timeout(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"head_timeout {seconds}: it must be more than 0 seconds")
        self._head_timeout = float(seconds)
        WATCH.look()

    @property
    def max_concurrent_streams(self) -> int:
        """How many requests an HTTP/2 client may have open at once; one more is refused."""
        return self._max_streams

    @max_concurrent_streams.setter
    def max_concurrent_streams(self, streams: int) -> None:
        if not 0 <= streams < 1 << 31:
            raise ValueError(f"max_concurrent_streams {streams}: it must be from 0 to 2^31 - 1")
        self._max_streams = streams

    def kill_connections(self, how: str = "rst") -> int:
        """End every connection that is idle, and return how many there were.

        By "rst", by "fin" (in good order), or "silent": they stay open, and nothing is answered on
        them any more. When this returns, the ends are on their way.
        """
        if how not in ("rst", "fin", "silent"):
            raise ValueError(f"kill_connections {how!r}: rst, fin or silent")
        return 0 if self._listener is None else self._listener.end_idle(cast(How, how))

    # what the listener asks

    def may_connect(self) -> bool:
        """Whether one more connection is served: the topology caps them."""
        return self.topology.count_connection()

    def greet(self, connection: Connection) -> Greeting:
        """Return how a connection goes that was just accepted, as the rules about it edit it."""
        greeting = Greeting(
            self.tls,
            spare=self.topology.certificates.valid,
            offered=HTTP2 if self.http2 else HTTP1,
            streams=self.max_concurrent_streams,
        )
        try:
            for rule in list(self.rules):
                if rule.on_connection:
                    greeting, fired = rule.meet(
                        greeting, self.setting(_NOT_YET), honest=self.topology.honest
                    )
                    if fired:
                        connection.rules.append(f"{rule.id} {rule.words}")
        except Exception as problem:  # rules hold a test's own functions
            self.handler_errors.append(problem)
            connection.rules.append(f"a rule raised {type(problem).__name__}: {problem}")
        return greeting

    @abstractmethod
    def setting(self, request: Request) -> Setting:
        """Return what faults may know beside what they edit."""

    @abstractmethod
    def may_wait(self) -> bool:
        """Whether answering may take its time."""

    @abstractmethod
    def handle(self, request: Request, connection: Connection) -> tuple[Script, Exchange]:
        """Answer a request."""


def check_address(value: str) -> str:
    """Return a loopback address; raises ValueError for anything else."""
    try:
        known = ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        known = None
    if known is None or str(known) not in ("127.0.0.1", "::1"):
        raise ValueError(f"address {value!r}: 127.0.0.1 or ::1")
    return str(known)
