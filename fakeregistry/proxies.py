"""HTTP proxies: hosts through which clients reach the registries of a topology, and nothing else.

Plain requests come in absolute form, TLS comes through tunnels (CONNECT; RFC 9110, 9.3.6). Names
are those of the topology: nobody asks DNS, and everything else is refused by 403.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from .honest.repeats import Repeats
from .messages import Answer, Facts, Reply, Request, error, header_of, without_header
from .registry import Registry
from .script import HandOver, Script
from .wire.relay import forward, tunnel

if TYPE_CHECKING:
    from .journal.exchange import Exchange
    from .topology import Registries
    from .wire.player import Player

_PORTS = {"http": 80, "https": 443}
_FACTS = Facts("proxy")


class Proxy(Registry):
    """A forward proxy of a topology. Made by `Registries.proxy`.

    Its rules are about `proxy()`, or about `connection()`: what they make of an answer is said
    instead of going on to a registry, and what they do before it is done before. An answer that
    comes from a registry can't be edited here: put a rule on that registry.

    `auth` (Basic) asks by 407 and Proxy-Authenticate (RFC 9110, 11.7), `tls` speaks TLS to the
    proxy itself.
    """

    def __init__(self, topology: Registries, name: str, port: int, address: str) -> None:
        super().__init__(topology, name, port, address)
        self._repeats = ProxyAnswers(self)

    def __repr__(self) -> str:
        return f"<Proxy {self.name} {self.base_url}>"

    @property
    def url(self) -> str:
        """What a client's setting says, the first user's name and password too: keep it secret."""
        if self.auth is None:
            return self.base_url
        user = self.auth.credentials
        return f"{self.scheme}://{quote(user.username)}:{quote(user.password)}@{self.host}"

    def _edited(self, script: Script, request: Request, facts: Facts, exchange: Exchange) -> Script:
        edited = super()._edited(script, request, facts, exchange)
        if edited.hand_over is not None and replace(edited, before=()) != replace(
            script, before=()
        ):
            raise ValueError("what comes from a registry can't be edited in a proxy")
        return edited


class ProxyAnswers(Repeats):
    """Says where a request leads, or why it leads nowhere."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def answer(self, request: Request) -> tuple[Answer, Script]:
        """Return the honest answer, and the script that gives it."""
        answer = self._refusal(request)
        if answer is None:
            target = self._target(request)
            if target is not None:
                return Answer(Reply(200), _FACTS), self._script(request, target)
            said = error(403, "DENIED", "this proxy leads to its registries alone")
            answer = Answer(said, _FACTS)
        return answer, Script.of(answer.reply, head_only=request.method == "HEAD")

    def _refusal(self, request: Request) -> Answer | None:
        """What is said where a request isn't for a proxy, or isn't from somebody it knows."""
        if request.method != "CONNECT" and request.target[:1] in ("/", "*"):
            return Answer(error(400, "UNSUPPORTED", "this is a proxy: ask by a whole URL"), _FACTS)
        auth = self._proxy.auth
        if auth is None:
            return None
        given = request.header("proxy-authorization")
        headers = without_header(request.headers, "Authorization")
        if given is not None:
            headers = (*headers, ("Authorization", given))
        denial = auth.deny(replace(request, headers=headers), Facts("ping"), "pull")
        if denial is None:
            return None
        renamed = tuple(
            ("Proxy-Authenticate" if name == "WWW-Authenticate" else name, value)
            for name, value in denial.reply.headers
        )
        status = 407 if denial.reply.status == 401 else denial.reply.status
        facts = replace(_FACTS, denied=True, problem=denial.problem)
        return Answer(Reply(status, renamed, denial.reply.body), facts)

    def _target(self, request: Request) -> Registry | None:
        if request.method == "CONNECT":
            return self._at(request.target, None)
        parts = urlsplit(request.target)
        return self._at(parts.netloc, parts.scheme) if parts.scheme == "http" else None

    def _at(self, authority: str, scheme: str | None) -> Registry | None:
        """The registry at a host and port: by any of its names, or by its own port of all."""
        try:
            parts = urlsplit(f"//{authority}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return None
        usual = port in _PORTS.values() if scheme is None else port in (None, _PORTS[scheme])
        topology = self._proxy.topology
        for one in topology.registries.values():
            if isinstance(one, Proxy):
                continue
            names = {one.hostname, *topology.names_of(one.name)}
            if port == one.port and host in {*names, one.address, "localhost", "127.0.0.1"}:
                return one
            if usual and host in names - {"localhost", "127.0.0.1", "::1"}:
                return one
        return None

    def _script(self, request: Request, target: Registry) -> Script:
        journal, address = self._proxy.journal, (target.address, target.port)
        run: Callable[[Player, Exchange], None]
        if request.method == "CONNECT":
            run = partial(tunnel, journal=journal, address=address)
        else:
            run = partial(forward, journal=journal, address=address, request=request)
        return Script(200, hand_over=HandOver(run))


def asked_host(exchange: Exchange) -> str:
    """The host, with its port, that a client asked a proxy for."""
    if exchange.method == "CONNECT":
        return exchange.target
    return urlsplit(exchange.target).netloc or (
        header_of(tuple(exchange.request_headers), "host") or ""
    )
