"""The control API: what a test in any language asks of a served world, over HTTP on loopback.

It has a port and a token of its own (both in the ready file), so that it never mixes with what a
puller sees. Rules and scenarios are said in the words of scenario files, as TOML or as JSON.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from fakeregistry.journal.har import to_har
from fakeregistry.journal.journal import Connection, Exchange, Journal
from fakeregistry.messages import KINDS, Facts, Headers, Reply, Request
from fakeregistry.rules.rule import Rule
from fakeregistry.scenario import RulePart, ScenarioError, Source, read, read_rules
from fakeregistry.script import Script
from fakeregistry.wire.greeting import Greeting
from fakeregistry.wire.listener import Listener

from .world import World

LONGEST_WAIT = 60.0
"""How long one request may wait for something, in seconds."""
_STEP = 0.25
"""A wait looks up so often, in seconds, whether the whole is being stopped."""
_LOCAL_HOST = re.compile(r"(?:127\.0\.0\.1|localhost)(?::\d+)?")


class ControlError(Exception):
    """A request that can't be done: a status, and one line for each problem."""

    def __init__(self, status: int, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.status = status
        self.problems = problems


class Control:
    """The control API of a world. `ready` tells what is served, `stop` is asked to end it all."""

    name = "control"
    head_timeout = 60.0

    def __init__(
        self, world: World, ready: Callable[[], Mapping[str, Any]], stop: Callable[[], None]
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.journal = Journal(limit=0)
        self._world = world
        self._ready = ready
        self._stop = stop
        self._stopping = threading.Event()
        self._listener = Listener(self)
        self._listener.start()

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:41234`."""
        return f"http://127.0.0.1:{self._listener.port}"

    def close(self) -> None:
        """Stop listening; what waits is cut."""
        self._stopping.set()
        self._listener.stop()

    # the listener's side

    def may_connect(self) -> bool:
        """Whoever is on this machine may connect; the token decides about the rest."""
        return True

    def greet(self, connection: Connection) -> Greeting:
        """Greet everybody alike: in plain HTTP."""
        return Greeting()

    def may_wait(self) -> bool:
        """Whoever asks for what is to happen waits for it."""
        return True

    def handle(self, request: Request, connection: Connection) -> tuple[Script, Exchange]:
        """Answer one request."""
        exchange = self.journal.begin(request, Facts(), connection, kept=False)
        try:
            self._admit(request)
            reply = self._answer(request, exchange)
        except ControlError as problem:
            reply = _json(problem.status, {"problems": list(problem.problems)})
        except ScenarioError as problem:
            reply = _json(400, {"problems": [str(one) for one in problem.problems]})
        return Script.of(reply, head_only=request.method == "HEAD"), exchange

    def _admit(self, request: Request) -> None:
        # A page in a browser can reach loopback by a name of its own: it isn't meant.
        if not _LOCAL_HOST.fullmatch(request.header("host") or "127.0.0.1"):
            raise ControlError(403, "only by 127.0.0.1 or localhost")
        scheme, _, given = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode(), self.token.encode()
        ):
            raise ControlError(401, "Authorization: Bearer TOKEN is needed; see the ready file")

    def _answer(self, request: Request, exchange: Exchange) -> Reply:
        words = request.path.strip("/").split("/")
        method = "GET" if request.method == "HEAD" else request.method
        match (method, *words):
            case ("GET", ""):
                return _json(200, self._ready())
            case ("GET", "rules"):
                return _json(200, {"rules": self._shown(self._world.rules)})
            case ("POST", "rules"):
                return self._put(request)
            case ("DELETE", "rules"):
                for number in self._world.rules:
                    self._world.drop(number)
                return Reply(204)
            case ("GET", "rules", number):
                return self._rule(request, *self._found(number))
            case ("DELETE", "rules", number):
                self._world.drop(self._found(number)[0])
                return Reply(204)
            case ("POST", "rules", number, "release"):
                found, (part, rule) = self._found(number)
                rule.release()
                return _json(200, _rule(found, part, rule))
            case ("GET", "clock"):
                return _json(200, {"now": round(self._world.registries.clock.now(), 6)})
            case ("POST", "clock"):
                return self._advance(request)
            case ("GET", "journal"):
                return self._journal(request)
            case ("DELETE", "journal"):
                self._world.registries.journal.clear()
                return Reply(204)
            case ("PUT", "scenario"):
                self._world.reset(read(_source("scenario", request)))
                return _json(200, self._ready())
            case ("POST", "reset"):
                self._world.reset()
                return _json(200, self._ready())
            case ("POST", "stop"):
                threading.Thread(target=self._end, args=(exchange,), daemon=True).start()
                return _json(202, {})
        raise self._unknown(method, words)

    @staticmethod
    def _unknown(method: str, words: list[str]) -> ControlError:
        known = ("", "rules", "clock", "journal", "scenario", "reset", "stop")
        path = "/" + "/".join(words)
        if words[0] in known and len(words) <= (3 if words[0] == "rules" else 1):
            return ControlError(405, f"{method} isn't for {path}")
        return ControlError(
            404, f"no such path: {path} (known: {' '.join('/' + x for x in known)})"
        )

    def _end(self, exchange: Exchange) -> None:
        """Ask for the end once the answer has left."""
        self.journal.wait_for(lambda _: exchange.ended != "open", 5.0)
        self._stop()

    # rules

    def _put(self, request: Request) -> Reply:
        named = [rule.name for _, rule in self._world.rules.values() if rule.name]
        parts = read_rules(_source("rules", request), self._world.scenario, named)
        try:
            return _json(201, {"rules": self._shown(self._world.add(parts))})
        except ValueError as problem:
            raise ControlError(409, str(problem)) from None

    def _found(self, which: str) -> tuple[int, tuple[RulePart, Rule]]:
        """A rule by its number or its name."""
        rules = self._world.rules
        for number, found in rules.items():
            if which in (str(number), found[1].name):
                return number, found
        there = ", ".join(map(str, rules)) or "none"
        raise ControlError(404, f"there is no rule {which} (there: {there})")

    def _advance(self, request: Request) -> Reply:
        """Set the clock of the registries forward: `{"advance": 60}`, or `advance = "60s"`."""
        source = _source("clock", request)
        seconds = source.top.seconds("advance")
        if seconds is None and not source.problems:
            source.top.problem("advance", "advance is needed: the seconds to go forward")
        source.top.finish()
        source.check()
        try:
            now = self._world.registries.clock.advance(seconds or 0.0)
        except ValueError as problem:
            raise ControlError(400, str(problem)) from None
        return _json(200, {"now": round(now, 6)})

    @staticmethod
    def _shown(rules: Mapping[int, tuple[RulePart, Rule]]) -> list[dict[str, Any]]:
        return [_rule(number, part, rule) for number, (part, rule) in rules.items()]

    def _rule(self, request: Request, number: int, found: tuple[RulePart, Rule]) -> Reply:
        part, rule = found
        fired, holding = _count(request, "fired"), _count(request, "holding")
        if fired is not None:
            self._wait(request, f"rule {number} to fire {fired} times", _firing(rule, fired))
        if holding is not None:
            self._wait(request, f"rule {number} to hold {holding}", _holding(rule, holding))
        return _json(200, _rule(number, part, rule))

    # the journal

    def _journal(self, request: Request) -> Reply:
        journal = self._world.registries.journal
        kind, registry = request.argument("kind"), request.argument("registry")
        status, since = _count(request, "status"), _count(request, "since") or 0
        if kind is not None and kind not in KINDS:
            raise ControlError(400, f"kind {kind!r} is unknown (known: {', '.join(KINDS)})")

        def meant(exchange: Exchange) -> bool:
            return (
                exchange.number > since
                and (kind is None or exchange.kind == kind)
                and (registry is None or exchange.registry == registry)
                and (status is None or exchange.status == status)
            )

        least = _count(request, "at_least")
        if least is not None:
            wanted = least

            def there(seconds: float) -> bool:
                return journal.wait_for(lambda j: sum(map(meant, j)) >= wanted, seconds)

            self._wait(request, f"{least} such exchanges", there)
        if request.argument("ended") is not None:
            self._wait(request, "every exchange to end", journal.wait_quiet)
        if request.argument("format") == "har":
            return _json(200, to_har(journal))
        lines = [json.dumps(exchange.to_dict()) + "\n" for exchange in filter(meant, journal)]
        return Reply(200, _typed("application/x-ndjson"), "".join(lines).encode())

    # waiting

    def _wait(self, request: Request, what: str, until: Callable[[float], bool]) -> None:
        """Wait by short steps, so that a stop isn't kept waiting. Raises ControlError."""
        seconds = _seconds(request)
        deadline = time.monotonic() + seconds
        while not self._stopping.is_set():
            left = deadline - time.monotonic()
            if until(max(0.0, min(left, _STEP))):
                return
            if left <= 0:
                raise ControlError(504, f"waited {seconds:g} s in vain for {what}")
        raise ControlError(503, "stopping")


def _rule(number: int, part: RulePart, rule: Rule) -> dict[str, Any]:
    return {
        "number": number,
        "id": rule.id,
        "name": rule.name,
        "words": rule.words,
        "registry": part.target.registry,
        "required": rule.required,
        "fired": rule.fired,
        "holding": rule.gate.holding,
    }


def _firing(rule: Rule, count: int) -> Callable[[float], bool]:
    return lambda seconds: rule.wait_fired(seconds, count)


def _holding(rule: Rule, count: int) -> Callable[[float], bool]:
    return lambda seconds: rule.wait_holding(seconds, count)


def _count(request: Request, name: str) -> int | None:
    text = request.argument(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ControlError(400, f"{name}={text!r}: it must be a whole number")
    return int(text)


def _seconds(request: Request) -> float:
    text = request.argument("timeout") or "10"
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or float(text) > LONGEST_WAIT:
        raise ControlError(400, f"timeout={text!r}: seconds, at most {LONGEST_WAIT:g}")
    return float(text)


def _source(name: str, request: Request) -> Source:
    """The body as TOML or as JSON, whatever the Content-Type says: no text is both."""
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        raise ControlError(400, "the body isn't UTF-8 text") from None
    if not text.strip():
        raise ControlError(400, "the body is empty: a text in the words of scenario files is meant")
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return Source.of_text(name, text)  # which says what is wrong with it as TOML
        if isinstance(data, list):
            data = {"rule": data}
        if not isinstance(data, dict):
            raise ControlError(400, "the body must be a JSON object, or TOML") from None
        return Source(name, data)
    return Source.of_text(name, text)


def _typed(media_type: str) -> Headers:
    return (("Content-Type", media_type), ("Cache-Control", "no-store"))


def _json(status: int, document: Mapping[str, Any]) -> Reply:
    body = json.dumps(document, indent=2).encode() + b"\n"
    return Reply(status, _typed("application/json"), body)
