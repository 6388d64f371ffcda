"""One registry: a pytest-httpserver `HTTPServer` that is an OCI registry.

A request meets `expect_request` handlers first, then the honest registry, whose answer the rules
edit into a script; the wire plays it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Unpack
from urllib.parse import quote, urlsplit

from .auth.desk import TokenDesk
from .auth.guards import Auth, basic_credentials
from .content import Schema1Spec, Spec
from .faults import Setting
from .honest.app import ROOT, App
from .honest.repeats import Repeats
from .honest.signed import SignedURLs, Terms
from .honest.storage import Manifest, Placed, Storage
from .journal.httplog import HTTPLog, Pair, as_http_request
from .journal.journal import Connection, Exchange, Journal
from .messages import Content, Facts, Reply, Request, error, header_of
from .placed import Image, layers_of
from .rules.asking import Asked
from .rules.conditions import Asking, Conditions
from .rules.hosting import Hosting
from .rules.rule import Rule, When
from .rules.surroundings import Surroundings
from .rules.targets import ConnectionTarget, Target
from .script import Script
from .wire.certificates import ServerCertificate
from .wire.door import ADDRESS, HEAD_TIMEOUT, Door, check_address
from .wire.greeting import STREAMS

if TYPE_CHECKING:
    from .topology import Registries

_NO_FACTS = Facts()
_NOTHING_ASKED = Asked("GET")


class Registry(Door):
    """A named registry of a topology, listening on loopback. Made by `Registries.registry`."""

    def __init__(
        self, topology: Registries, name: str, port: int = 0, address: str = ADDRESS
    ) -> None:
        self.name = name
        self.topology = topology
        self.journal: Journal = topology.journal
        self.storage = Storage()
        self.rules: list[Rule] = []
        self._numbered = 0
        self.tls: ServerCertificate | None = None
        self.canary = False
        self._tokens = TokenDesk(self)
        self._signed = SignedURLs(name, topology.clock, topology.secrets)
        self._app = App(self.storage, self._tokens, self._signed)
        self._hosting = Hosting(self)
        self._repeats: Repeats = Repeats(self._app)
        self._auth: Auth | None = None
        self._lock = threading.RLock()
        self._surroundings = Surroundings(self)
        super().__init__(host=check_address(address), port=port, threaded=True)

    def __repr__(self) -> str:
        return f"<Registry {self.name} {self.base_url}>"

    # names

    @property
    def scheme(self) -> str:
        """`https` while a certificate is set, else `http`."""
        return "http" if self.tls is None else "https"

    @property
    def base_url(self) -> str:
        """Scheme, host and port: `http://127.0.0.1:41234`."""
        return f"{self.scheme}://{self.host}"

    def url_for(self, suffix: str) -> str:
        """Return the URL of a path on this registry."""
        return self.base_url + (suffix if suffix.startswith("/") else "/" + suffix)

    # content

    @property
    def auth(self) -> Auth | None:
        """Who may do what: None lets everybody; see `basic` and `bearer`."""
        return self._auth

    @auth.setter
    def auth(self, auth: Auth | None) -> None:
        if auth is not None:
            auth.attach(self)
        self._auth = auth
        self._app.auth = auth

    @property
    def token_desk(self) -> TokenDesk:
        """The token service of this registry, which other registries may name as their realm."""
        return self._tokens

    @property
    def prefix(self) -> str:
        """The path where the distribution API stands: `/v2`, or another such as `/v2/mirror`."""
        return self._app.root

    @prefix.setter
    def prefix(self, path: str) -> None:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
            raise ValueError(f"prefix {path!r}: a path such as /v2/mirror")
        self._app.root = path
        self.storage.touch()

    @property
    def contacted(self) -> bool:
        """Whether anybody has connected so far, with or without a request."""
        return any(one.registry == self.name for one in self.journal.connections)

    def add(
        self, spec: Spec, name: str = "app/web", tag: str | None = "v1", *, ns: str | None = None
    ) -> Image:
        """Serve an image or index under a name and a tag (None: only by its digest).

        `ns`: only to who asks for this upstream (`?ns=docker.io`), as a mirror of several does.
        Layers with URLs on a registry of this topology are served there too.
        """
        storage = self.storage if ns is None else self._upstream(ns)
        spec = spec.salted(self.topology.salt)
        if isinstance(spec, Schema1Spec):
            spec = spec.named(name, tag or "latest")
        for thing in spec.objects():
            if thing.kind == "blob":
                storage.put_blob(name, thing.digest, thing.data)
                if thing.role == "config":
                    storage.mark_config(thing.digest)
            else:
                manifest = Manifest(bytes(thing.data), thing.media_type, thing.digest)
                last = tag if thing.digest == spec.digest else None
                storage.put_manifest(name, manifest, last)
        for layer in layers_of(spec):
            for url in layer.urls:
                self.topology.place_url(
                    url, Placed(layer.blob, layer.media_type, layer.digest, "foreign_url")
                )
        self.storage.touch()
        return Image(self, spec, name, tag)

    def _upstream(self, ns: str) -> Storage:
        """What is there of an upstream."""
        known = self._app.upstreams
        if ns not in known:
            self._app.upstreams = {**known, ns: App(Storage())}
        return self._app.upstreams[ns].storage

    def _find(self, digest: str) -> Content | None:
        for app in (self._app, *self._app.upstreams.values()):
            found = app.storage.find(digest)
            if found is not None:
                return found
        return None

    def foreign_url(self, name: str = "layer") -> str:
        """Return a URL on this registry for a layer's `urls`; `add` serves the layer there."""
        return self.url_for(f"/foreign/{quote(name)}")

    def place(
        self,
        script: Script,
        path: str | None = None,
        terms: Terms | None = None,
        *,
        fresh: bool = True,
    ) -> str:
        """Serve what a script serves at a path of its own here, without auth; return the URL.

        `terms`: by a signed URL that is only good so far; not `fresh`: the one given before.
        """
        content = script.content
        data = content.data if content is not None else script.body
        media_type = header_of(script.headers, "content-type") or "application/octet-stream"
        digest = content.digest if content is not None else None
        if path is None:
            key = hashlib.sha256(f"{digest}{media_type}".encode() + bytes(b"" if digest else data))
            path = f"/{'storage' if terms is None else 'signed'}/{key.hexdigest()[:40]}"
        named = header_of(script.headers, "docker-content-digest") is not None
        docker = named and digest is not None
        placed = Placed(data, media_type, digest, docker_digest=docker, signed=terms is not None)
        self.storage.place(path.partition("?")[0], placed)
        if terms is not None:
            return self.url_for(self._signed.sign(path.partition("?")[0], terms, fresh=fresh))
        if "?" in path:
            return self.url_for(path)
        signature = hmac.new(self.topology.seed.encode(), path.encode(), hashlib.sha256)
        return self.url_for(f"{path}?X-Signature={signature.hexdigest()[:32]}&X-Expires=3600")

    # rules and the journal

    def on(
        self,
        target: Target,
        *,
        name: str | None = None,
        nth: int | None = None,
        **conditions: Unpack[Conditions],
    ) -> Rule:
        """Begin a rule about a target, and return it: windows and faults are its methods.

        `name` is what other rules of the topology call it by; ValueError where one has it already,
        or where a condition (see `Conditions`) makes no sense.
        """
        when = When.of(**conditions)
        if isinstance(target, ConnectionTarget) and when.on_request:
            raise ValueError("on a connection nobody has asked anything yet: no such conditions")
        with self._lock:
            self._numbered += 1
            rule = Rule(target, when, self._numbered, self.name, name, self.topology.seed)
            self.topology.know_rule(rule)
            if nth is not None:
                rule.nth(nth)
            self.rules.append(rule)
        return rule

    def drop(self, rule: Rule) -> None:
        """Take a rule back; answers that it holds up go on."""
        with self._lock:
            self.rules.remove(rule)
        rule.retire()

    def wipe(self) -> None:
        """Be as new: empty, honest, plain HTTP, open to everybody. Port and connections stay."""
        for rule in list(self.rules):
            self.drop(rule)
            self.topology.forget_rule(rule)
        with self._lock:
            self._numbered = 0
        self.storage.clear()
        self._signed.clear()
        self._app.upstreams = {}
        self._app.root = ROOT
        self.canary = False
        self.auth = None
        self.tls = None
        self.listening = "open"
        self.head_timeout = HEAD_TIMEOUT
        self.http2 = False
        self.max_concurrent_streams = STREAMS
        self.clear()

    def requests(
        self,
        target: Target | None = None,
        *,
        status: int | None = None,
        **asking: Unpack[Asking],
    ) -> list[Exchange]:
        """Return this registry's exchanges about a target that match, in order."""
        when = When.of(**asking)
        if when.on_registry:
            raise ValueError(f"the journal doesn't know what went on around: {when.words}")
        return self.journal.exchanges(
            target,
            registry=self.name,
            where=lambda one: (
                (status is None or one.status == status) and when.accepts(Asked.recorded(one))
            ),
        )

    # answering

    def may_wait(self) -> bool:
        """Whether a test's own handlers may answer, and so take their time."""
        return bool(self.ordered_handlers or self.oneshot_handlers or self.handlers)

    def handle(self, request: Request, connection: Connection) -> tuple[Script, Exchange]:
        """Answer a request: the seam between the wire and everything above it.

        Whatever is raised meanwhile is answered by 500, and raised again by `check()`.
        """
        if not self.topology.count_request():
            reply = error(503, "UNAVAILABLE", "the request cap of this registry is reached")
            exchange = self.journal.begin(request, Facts(), connection, kept=False)
            return Script(503, reply.headers, reply.body, end="close"), exchange
        begun: Exchange | None = None
        try:
            custom = self._custom(request)
            if custom is not None:
                begun = self.journal.begin(request, self._facts(request), connection)
                begun.rules.append("expect_request")
                return Script.of(custom, head_only=request.method == "HEAD"), begun
            answer, script = self._repeats.answer(request)
            self._http_log.note(request, answer.reply)
            begun = self.journal.begin(request, answer.facts, connection)
            return self._edited(script, request, answer.facts, begun), begun
        except Exception as problem:  # rules and handlers hold a test's own functions
            self.handler_errors.append(problem)
            said = f"{type(problem).__name__}: {problem}"
            begun = begun or self.journal.begin(request, Facts(), connection)
            begun.rules.append(f"raised {said}")
            reply = error(500, "UNKNOWN", said)
            return Script.of(reply, head_only=request.method == "HEAD"), begun

    def _edited(self, script: Script, request: Request, facts: Facts, exchange: Exchange) -> Script:
        meant = [rule for rule in list(self.rules) if rule.target.matches(facts)]
        if not meant:
            return script
        asked = Asked.live(request, facts, exchange.connection, lambda: self._subject(request))
        setting = self.setting(request, facts, asked)
        # All are asked before one acts: conditions are about what was when the request came.
        for rule in [rule for rule in meant if rule.means(setting)]:
            script, fired = rule.apply(script, setting, honest=self.topology.honest)
            if fired:
                exchange.rules.append(f"{rule.id} {rule.words}")
        return script

    def setting(
        self, request: Request, facts: Facts = _NO_FACTS, asked: Asked = _NOTHING_ASKED
    ) -> Setting:
        """Return what faults may know beside what they edit."""
        return Setting(
            request,
            place=self._place,
            facts=facts,
            find=self._find,
            host=self._hosting,
            clock=self.topology.clock,
            rules=self.topology.rule,
            kill=self.kill_connections,
            around=self._surroundings,
            asked=asked,
        )

    def _subject(self, request: Request) -> str | None:
        """The user's name that a request gives, or that its token was given to."""
        if self._auth is not None:
            return self._auth.subject(request)
        given = basic_credentials(request)
        return None if given is None else given[0]

    def _facts(self, request: Request) -> Facts:
        return self._app.answer(Request("HEAD", request.target)).facts

    def _place(self, to: str | None, path: str | None, script: Script) -> str:
        if to is None:
            url = urlsplit(self.place(script, path))
            return f"{url.path}?{url.query}" if url.query else url.path
        return self.topology.registry(to).place(script, path)

    # pytest-httpserver's side

    @property  # type: ignore[override]
    def log(self) -> HTTPLog:
        """The log of pytest-httpserver: the newest 10,000 requests with their honest answers."""
        return self._http_log

    @log.setter
    def log(self, pairs: Iterable[Pair]) -> None:
        self._http_log = HTTPLog(lambda: self.host, pairs)

    def _custom(self, request: Request) -> Reply | None:
        """Return the answer of an `expect_request` handler, or None where none is meant."""
        if not (self.ordered_handlers or self.oneshot_handlers or self.handlers):
            return None
        http = as_http_request(request, self.host)
        with self._lock:
            lists = (self.ordered_handlers, self.oneshot_handlers, self.handlers)
            wanted = any(h.matcher.match(http) for handlers in lists for h in handlers)
        if not wanted and not self.permanently_failed:
            return None
        try:
            response = self.application(http)
        except Exception as problem:  # a test's own handler may raise anything; dispatch kept it
            return error(500, "UNKNOWN", f"the handler raised {type(problem).__name__}")
        headers = tuple((str(key), str(value)) for key, value in response.headers.items())
        return Reply(response.status_code, headers, response.get_data())
