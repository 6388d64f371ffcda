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
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, quote_plus

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HIDDEN = re.compile(r"<(?:secret|unknown):")
_SENSITIVE = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SENSITIVE_FIELDS = frozenset(
    {"password", "refresh_token", "access_token", "token", "client_secret", "identity_token"}
)
_LIMIT = 8192
"""How many characters of one text are kept; the rest is only counted."""


@dataclass(frozen=True)
class SecretSeen:
    """A known secret in a request: whose, where (`header:Authorization`, `query`, `body`, `path`),
    and over which scheme."""

    name: str
    where: str
    scheme: Literal["http", "https"]


class Secrets:
    """The secrets of one topology. Thread-safe."""

    def __init__(self, seed: str = "0") -> None:
        self._seed = seed.encode()
        self._key = os.urandom(16)
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}

    def new(self, name: str) -> str:
        """Return the secret of this name: the same text for the same seed and name."""
        value = "canary-" + hmac.new(self._seed, name.encode(), hashlib.sha256).hexdigest()[:32]
        return self.register(name, value)

    def register(self, name: str, value: str) -> str:
        """Know a value as a secret from now on, and return it."""
        if len(value) >= 4:
            with self._lock:
                self._names.setdefault(value, name)
        return value

    def value(self, name: str) -> str | None:
        """Return the secret of a name, or None."""
        with self._lock:
            return next((value for value, known in self._names.items() if known == name), None)

    def fingerprint(self, value: str) -> str:
        """Return eight hex digits that tell this value from others, in this run."""
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:8]

    def redact(self, text: str) -> tuple[str, list[str]]:
        """Return the text without known secrets (plain, quoted, base64), and the names it held."""
        with self._lock:
            known = list(self._names.items())
        seen: list[str] = []
        for value, name in known:
            mark = f"<secret:{name}:{self.fingerprint(value)}>"
            for form in {value, quote(value, safe=""), quote_plus(value)}:
                if form in text:
                    text = text.replace(form, mark)
                    if name not in seen:
                        seen.append(name)
        for word in _BASE64.findall(text):
            plain = _decoded(word)
            for value, name in known:
                if plain is not None and value in plain:
                    text = text.replace(word, f"<secret:{name}:{self.fingerprint(value)}>")
                    if name not in seen:
                        seen.append(name)
                    break
        if len(text) > _LIMIT:
            text = text[:_LIMIT] + f"… ({len(text)} characters)"
        return text, seen

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


def _decoded(word: str) -> str | None:
    """Return what a word of base64 says, or None where it is none."""
    plain = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
