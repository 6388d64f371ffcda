"""What may be written down of a request: its texts with every secret hidden."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from fakeregistry.messages import Facts, Headers, Request

from .secrets import Secrets, SecretSeen

_KEPT = 1024
_KEPT_SIZE = 4096
_FORM = 64 << 10
"""How much of a form is looked at, in bytes."""

Seen = tuple[tuple[str, str], ...]
"""Names of secrets, each with where it stood."""


@dataclass(frozen=True)
class Hidden:
    """Headers with their secrets hidden; `size` is how many characters they have."""

    headers: Headers
    seen: Seen
    size: int


class Hiding:
    """Hides secrets in requests and answers.

    A client sends the same headers again and again, and so does a registry: those seen last are
    kept as they were hidden, as long as no secret becomes known.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._kept: dict[tuple[Headers, bool], Hidden] = {}
        self._known = secrets.known

    def request_headers(self, headers: Headers) -> Hidden:
        """Hide the secrets in a request's headers, credentials that nobody knows too."""
        return self._headers(headers, True)

    def answer_headers(self, headers: Headers) -> Hidden:
        """Hide the secrets in an answer's headers."""
        return self._headers(headers, False)

    def _headers(self, headers: Headers, sent: bool) -> Hidden:
        if self._known != self._secrets.known:
            self._known, self._kept = self._secrets.known, {}
        kept = self._kept
        hidden = kept.get((headers, sent))
        if hidden is None:
            hidden = self._hide(headers, sent)
            if len(kept) >= _KEPT:
                kept.clear()
            if hidden.size <= _KEPT_SIZE:
                kept[headers, sent] = hidden
        return hidden

    def _hide(self, headers: Headers, sent: bool) -> Hidden:
        redact = self._secrets.redact
        shown: list[tuple[str, str]] = []
        seen: list[tuple[str, str]] = []
        size = 0
        for name, value in headers:
            text, names = self._secrets.redact_header(name, value) if sent else redact(value)
            seen += [(secret, f"header:{name.title()}") for secret in names]
            shown.append((name, text))
            size += len(name) + len(value)
        return Hidden(tuple(shown), tuple(seen), size)

    def target(self, request: Request, facts: Facts) -> tuple[str, Facts, Seen]:
        """Hide the secrets in a request's target, and in the facts that quote it."""
        raw, question, query = request.target.partition("?")
        path, names = self._secrets.redact(raw)
        seen = [(name, "path") for name in names]
        if path != raw or "%" in raw:
            facts = replace(
                facts,
                repository=self._text(facts.repository),
                tag=self._text(facts.tag),
                digest=self._text(facts.digest),
            )
        if question:
            query, names = self._secrets.redact_form(query)
            seen += [(name, "query") for name in names]
            path = f"{path}?{query}"
        return path, facts, tuple(seen)

    def _text(self, text: str | None) -> str | None:
        return text if text is None else self._secrets.redact(text)[0]

    def seen_over(self, scheme: Literal["http", "https"], *seen: Seen) -> list[SecretSeen]:
        """Return what was seen as records of one request."""
        found = []
        for part in seen:
            for name, where in part:
                about = self._secrets.about(name)
                found.append(SecretSeen(name, where, scheme, about.owner, about.kind))
        return found

    def form(self, request: Request, facts: Facts) -> tuple[str | None, Seen]:
        """Hide the secrets in a form; None for any other body."""
        if not request.body:
            return None, ()
        kind = (request.header("content-type") or "").lower()
        if facts.kind != "token" and not kind.startswith("application/x-www-form-urlencoded"):
            return None, ()
        form, names = self._secrets.redact_form(request.body[:_FORM].decode("utf-8", "replace"))
        return form or None, tuple((name, "body") for name in names)
