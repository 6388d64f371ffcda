"""One registry: a pytest-httpserver `HTTPServer` that is an OCI registry.

A request meets `expect_request` handlers first, then the honest registry, whose answer the rules
edit into a script; the wire plays it.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from pytest_httpserver import HTTPServer, HTTPServerError
from werkzeug import Request as HTTPRequest
from werkzeug import Response as HTTPResponse

from .app import App
from .certificates import ServerCertificate
from .content import Schema1Spec, Spec
from .faults import Setting
from .journal import Connection, Exchange, Journal
from .listener import Listener
from .messages import Answer, Facts, Reply, Request, error, header_of
from .placed import Image, layers_of
from .rules import HeaderCondition, Rule, When
from .script import Script
from .storage import Manifest, Placed, Storage
from .targets import Target
from .tokendesk import TokenDesk
from .tokens import Auth

if TYPE_CHECKING:
    from .topology import Registries


class Registry(HTTPServer):
    """A named registry of a topology, listening on loopback. Made by `Registries.registry`."""

    def __init__(self, topology: Registries, name: str, port: int = 0) -> None:
        self.name = name
        self.topology = topology
        self.journal: Journal = topology.journal
        self.storage = Storage()
        self.rules: list[Rule] = []
        self._numbered = 0
        self.tls: ServerCertificate | None = None
        self._tokens = TokenDesk(self)
        self._app = App(self.storage, self._tokens)
        self._auth: Auth | None = None
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        super().__init__(host="127.0.0.1", port=port, threaded=True)

    def __repr__(self) -> str:
        return f"<Registry {self.name} {self.base_url}>"

    # names

    @property
    def hostname(self) -> str:
        """The host name in references and URLs, without the port."""
        return self.topology.host_name(self.name, tls=self.tls is not None)

    @property
    def host(self) -> str:
        """Host and port as typed in an image reference: `127.0.0.1:41234`."""
        return f"{self.hostname}:{self.port}"

    @host.setter
    def host(self, value: str) -> None:
        # pytest-httpserver sets the address to listen on: here that is always loopback.
        self.listen_host = value

    @property
    def scheme(self) -> str:
        """`https` while a certificate is set, else `http`."""
        return "http" if self.tls is None else "https"

    @property
    def base_url(self) -> str:
        """Scheme, host and port: `http://127.0.0.1:41234`."""
        return f"{self.scheme}://{self.host}"

    @property
    def certificate(self) -> ServerCertificate | None:
        """The certificate for new connections; None means plain HTTP."""
        return self.tls

    def url_for(self, suffix: str) -> str:
        """Return the URL of a path on this registry."""
        return self.base_url + (suffix if suffix.startswith("/") else "/" + suffix)

    # life

    def is_running(self) -> bool:
        """Whether the registry listens."""
        return self._listener is not None

    def start(self) -> None:
        """Listen; raises HTTPServerError where it already does, OSError where the port is taken."""
        if self._listener is not None:
            raise HTTPServerError("Server is already running")
        listener = Listener(self, self.listen_host, self.port)
        self.port = listener.port
        self._listener = listener
        listener.start()

    def stop(self) -> None:
        """Stop listening and end every connection, whatever it waits for."""
        if self._listener is None:
            raise HTTPServerError("Server is not running")
        listener, self._listener = self._listener, None
        listener.stop()
        for rule in self.rules:
            rule.gate.close()

    def may_connect(self) -> bool:
        """Whether one more connection is served: the topology caps them."""
        return self.topology.count_connection()

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

    def add(self, spec: Spec, name: str = "app/web", tag: str | None = "v1") -> Image:
        """Serve an image or index under a name and a tag (None: only by its digest).

        Layers with URLs on a registry of this topology are served there too.
        """
        spec = spec.salted(self.topology.salt)
        if isinstance(spec, Schema1Spec):
            spec = spec.named(name, tag or "latest")
        for thing in spec.objects():
            if thing.kind == "blob":
                self.storage.put_blob(name, thing.digest, thing.data)
                if thing.role == "config":
                    self.storage.mark_config(thing.digest)
            else:
                manifest = Manifest(bytes(thing.data), thing.media_type, thing.digest)
                last = tag if thing.digest == spec.digest else None
                self.storage.put_manifest(name, manifest, last)
        for layer in layers_of(spec):
            for url in layer.urls:
                self.topology.place_url(
                    url, Placed(layer.blob, layer.media_type, layer.digest, "foreign_url")
                )
        return Image(self, spec, name, tag)

    def foreign_url(self, name: str = "layer") -> str:
        """Return a URL on this registry for a layer's `urls`; `add` serves the layer there."""
        return self.url_for(f"/foreign/{quote(name)}")

    def place(self, script: Script, path: str | None = None) -> str:
        """Serve what a script serves at a signed path here, without auth; return the URL."""
        content = script.content
        data = content.data if content is not None else script.body
        media_type = header_of(script.headers, "content-type") or "application/octet-stream"
        digest = content.digest if content is not None else None
        if path is None:
            key = hashlib.sha256(f"{digest}{media_type}".encode() + bytes(b"" if digest else data))
            path = f"/storage/{key.hexdigest()[:40]}"
        named = header_of(script.headers, "docker-content-digest") is not None
        placed = Placed(data, media_type, digest, docker_digest=named and digest is not None)
        self.storage.place(path.partition("?")[0], placed)
        if "?" in path:
            return self.url_for(path)
        signature = hmac.new(self.topology.seed.encode(), path.encode(), hashlib.sha256)
        return self.url_for(f"{path}?X-Signature={signature.hexdigest()[:32]}&X-Expires=3600")

    # rules and the journal

    def on(
        self,
        target: Target,
        *,
        method: str | None = None,
        range: bool | None = None,  # noqa: A002 (the field's word)
        authorized: bool | None = None,
        header: Mapping[str, HeaderCondition] | None = None,
        query: Mapping[str, HeaderCondition] | None = None,
        nth: int | None = None,
        name: str | None = None,
    ) -> Rule:
        """Begin a rule about a target, and return it: windows and faults are its methods.

        `name` is what other rules of the topology call it by; ValueError where one has it already.
        """
        when = When(method, range, authorized, header or {}, query or {})
        with self._lock:
            self._numbered += 1
            rule = Rule(target, when, self._numbered, self.name, name)
            self.topology.know_rule(rule)
            if nth is not None:
                rule.nth(nth)
            self.rules.append(rule)
        return rule

    def drop(self, rule: Rule) -> None:
        """Take a rule back; answers that it holds up go on."""
        with self._lock:
            self.rules.remove(rule)
        self.topology.forget_rule(rule)
        rule.release()
        rule.gate.close()

    def wipe(self) -> None:
        """Be as new: empty, honest, plain HTTP, open to everybody. Port and connections stay."""
        for rule in list(self.rules):
            self.drop(rule)
        with self._lock:
            self._numbered = 0
        self.storage.clear()
        self.auth = None
        self.tls = None
        self.clear()

    def requests(
        self,
        target: Target | None = None,
        *,
        method: str | None = None,
        range: bool | None = None,  # noqa: A002 (the field's word)
        authorized: bool | None = None,
        header: Mapping[str, HeaderCondition] | None = None,
        query: Mapping[str, HeaderCondition] | None = None,
        status: int | None = None,
    ) -> list[Exchange]:
        """Return this registry's exchanges about a target that match, in order."""
        when = When(method, range, authorized, header or {}, query or {})
        return self.journal.exchanges(
            target,
            registry=self.name,
            where=lambda e: (
                when.accepts(e.method, e.header, dict(parse_qsl(e.query, keep_blank_values=True)))
                and (status is None or e.status == status)
            ),
        )

    # answering

    def handle(self, request: Request, connection: Connection) -> tuple[Script, Exchange]:
        """Answer a request: the seam between the wire and everything above it.

        What a rule or a handler raises is answered by 500, and raised again by `check()`.
        """
        if not self.topology.count_request():
            reply = error(503, "UNAVAILABLE", "the request cap of this registry is reached")
            exchange = self.journal.begin(request, Facts(), connection, kept=False)
            return Script(503, reply.headers, reply.body, end="close"), exchange
        custom = self._custom(request)
        if custom is not None:
            exchange = self.journal.begin(request, self._facts(request), connection)
            exchange.rules.append("expect_request")
            return Script.of(custom, head_only=request.method == "HEAD"), exchange
        answer = self._app.answer(request)
        self._log(request, answer.reply)
        exchange = self.journal.begin(request, answer.facts, connection)
        try:
            return self._edited(request, answer, exchange), exchange
        except Exception as problem:  # rules hold a test's own functions
            self.handler_errors.append(problem)
            said = f"{type(problem).__name__}: {problem}"
            exchange.rules.append(f"a rule raised {said}")
            reply = error(500, "UNKNOWN", said)
            return Script.of(reply, head_only=request.method == "HEAD"), exchange

    def _edited(self, request: Request, answer: Answer, exchange: Exchange) -> Script:
        script = Script.of(answer.reply, head_only=request.method == "HEAD")
        setting = Setting(
            request,
            place=self._place,
            facts=answer.facts,
            find=self.storage.find,
            clock=self.topology.clock,
            rules=self.topology.rule,
        )
        for rule in list(self.rules):
            script, fired = rule.apply(
                script, request, answer.facts, setting, honest=self.topology.honest
            )
            if fired:
                exchange.rules.append(f"{rule.id} {rule.words}")
        return script

    def _facts(self, request: Request) -> Facts:
        return self._app.answer(Request("HEAD", request.target)).facts

    def _place(self, to: str | None, path: str | None, script: Script) -> str:
        if to is None:
            url = urlsplit(self.place(script, path))
            return f"{url.path}?{url.query}" if url.query else url.path
        return self.topology.registry(to).place(script, path)

    # pytest-httpserver's side

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

    def _log(self, request: Request, reply: Reply) -> None:
        response = HTTPResponse(status=reply.status, headers=list(reply.headers))
        self.log.append((as_http_request(request, self.host), response))


def as_http_request(request: Request, host: str) -> HTTPRequest:
    """Return the request as werkzeug knows it: for handlers and the log of pytest-httpserver."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.raw_query,
        "REQUEST_URI": request.target,
        "RAW_URI": request.target,
        "SERVER_NAME": host.rpartition(":")[0],
        "SERVER_PORT": host.rpartition(":")[2],
        "SERVER_PROTOCOL": request.version,
        "REMOTE_ADDR": request.peer.rpartition(":")[0],
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": BytesIO(request.body),
        "wsgi.input_terminated": True,
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    http = HTTPRequest(environ)
    http.get_data()
    return http
