"""Secrets are canaries: made from the seed, told apart by name, and never written down.

Wherever text leaves the registry (journal, HAR, bundle), a known secret stands as
`<secret:NAME:fingerprint>`. Fingerprints are keyed anew in each run, so they compare within a run
and say nothing outside it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, quote_plus

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_CANARY = re.compile(r"canary-[0-9a-f]{32}")
_HIDDEN = re.compile(r"<(?:secret|unknown):")
_SENSITIVE = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SENSITIVE_FIELDS = frozenset(
    {"password", "refresh_token", "access_token", "token", "client_secret", "identity_token"}
)
_LIMIT = 8192
"""How many characters of one text are kept; the rest is only counted."""


@dataclass(frozen=True)
class SecretSeen:
    """A known secret in a request: where (`header:Authorization`, `query`, `body`, `path`), and
    over which scheme.

    `owner` is the registry that it opens, `kind` what it is: password, bearer token, registry
    token, identity token, refresh token, signed URL, or other.
    """

    name: str
    where: str
    scheme: Literal["http", "https"]
    owner: str = ""
    kind: str = "other"


@dataclass(frozen=True)
class About:
    """What is known of a secret beside its name."""

    owner: str
    kind: str = "other"


class Secrets:
    """The secrets of one topology. Thread-safe.

    Every request is searched for them. One pattern says whether some could be there at all: nearly
    always none is, and then that one search is the whole cost, however many are known.
    """

    def __init__(self, seed: str = "0") -> None:
        self._seed = seed.encode()
        self._key = os.urandom(16)
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._about: dict[str, About] = {}
        self._forms: dict[str, str] = {}
        self._suspects = _CANARY_TRACES
        self.known = 0
        """How many are known: what was redacted before another one came may hide less."""

    def new(self, name: str, *, owner: str | None = None, kind: str = "other") -> str:
        """Return the secret of this name: the same text for the same seed and name.

        `owner` is the registry that it opens, `kind` what it is: see `SecretSeen`.
        """
        value = "canary-" + hmac.new(self._seed, name.encode(), hashlib.sha256).hexdigest()[:32]
        return self.register(name, value, owner=owner, kind=kind)

    def register(
        self, name: str, value: str, *, owner: str | None = None, kind: str = "other"
    ) -> str:
        """Know a value as a secret from now on, and return it.

        Its owner, where nobody says, is the last word of the name: `password of origin`.
        """
        if len(value) < 4:
            return value
        with self._lock:
            if owner is not None or kind != "other" or name not in self._about:
                self._about[name] = About(name.rpartition(" ")[2] if owner is None else owner, kind)
            if value not in self._names:
                self._names[value] = name
                if not _CANARY.fullmatch(value):
                    self._learn(value)
                self.known += 1
        return value

    def _learn(self, value: str) -> None:
        """Look for a value that doesn't look like the ones that are made here."""
        forms = {value, quote(value, safe=""), quote_plus(value)}
        self._forms |= dict.fromkeys(forms, value)
        traces = sorted({self._suspects.pattern, *map(re.escape, {*forms, *_traces(value)})})
        self._suspects = re.compile("|".join(traces))

    def about(self, name: str) -> About:
        """What is known of the secret with this name."""
        return self._about.get(name) or About(name.rpartition(" ")[2])

    def value(self, name: str) -> str | None:
        """Return the secret of a name, or None."""
        with self._lock:
            return next((value for value, known in self._names.items() if known == name), None)

    def fingerprint(self, value: str) -> str:
        """Return eight hex digits that tell this value from others, in this run."""
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:8]

    def redact(self, text: str) -> tuple[str, list[str]]:
        """Return the text without known secrets (plain, quoted, base64), and the names it held."""
        seen: list[str] = []
        if self._suspects.search(text):
            text = self._hidden(text, seen)
        if len(text) > _LIMIT:
            text = text[:_LIMIT] + f"… ({len(text)} characters)"
        return text, seen

    def _hidden(self, text: str, seen: list[str]) -> str:
        for form, value in self._in(text):
            text = text.replace(form, self._mark(value, seen))
        for word in _BASE64.findall(text):
            plain = _decoded(word)
            found = next(self._in(plain), None) if plain is not None else None
            if found is not None:
                text = text.replace(word, self._mark(found[1], seen))
        return text

    def _in(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield the known secrets in a text: as they stand there, and as they are."""
        for value in _CANARY.findall(text):
            if value in self._names:
                yield value, value
        for form, value in list(self._forms.items()):
            if form in text:
                yield form, value

    def _mark(self, value: str, seen: list[str]) -> str:
        name = self._names[value]
        if name not in seen:
            seen.append(name)
        return f"<secret:{name}:{self.fingerprint(value)}>"

    def redact_header(self, name: str, value: str) -> tuple[str, list[str]]:
        """Redact a header; one that carries credentials is hidden even where they are unknown."""
        text, seen = self.redact(value)
        if name.lower() in _SENSITIVE and not seen:
            scheme, space, rest = value.partition(" ")
            if space:
                return f"{scheme} <unknown:{self.fingerprint(rest)}>", []
            return f"<unknown:{self.fingerprint(value)}>", []
        return text, seen

    def redact_form(self, text: str) -> tuple[str, list[str]]:
        """Redact a urlencoded body or query, unknown values of credential fields too."""
        text, seen = self.redact(text)
        fields = []
        for item in text.split("&"):
            name, equals, value = item.partition("=")
            if equals and value and name.lower() in _SENSITIVE_FIELDS and not _HIDDEN.match(value):
                item = f"{name}=<unknown:{self.fingerprint(value)}>"
            fields.append(item)
        return "&".join(fields), seen


def _traces(value: str) -> set[str]:
    """Return texts of which one stands wherever a value does, plain or inside base64.

    Base64 writes three bytes as four characters, so a value looks in three ways, by where it
    begins; at both ends, characters that also tell of its neighbours are left out.
    """
    traces = {value}
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        data = bytes(offset) + value.encode()
        text = base64.b64encode(data).decode()[skipped : len(data) * 8 // 6]
        traces |= {text, text.replace("+", "-").replace("/", "_")}
    return traces


_CANARY_TRACES = re.compile("|".join(sorted(map(re.escape, _traces("canary-")))))


def _decoded(word: str) -> str | None:
    """Return what a word of base64 says, or None where it is none."""
    plain = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
