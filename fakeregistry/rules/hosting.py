"""What a fault may ask of the registries around it: tokens, credentials, URLs that lead somewhere.

Asking changes nothing that anybody sees; what does change something goes into an `Act` of the
script, so that a rule which doesn't fire has done nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from fakeregistry.auth.grants import Grant
from fakeregistry.honest.signed import Terms
from fakeregistry.honest.storage import Placed
from fakeregistry.messages import Facts, Request
from fakeregistry.script import Script

if TYPE_CHECKING:
    from fakeregistry.registry import Registry


class Host(Protocol):
    """The registry where a fault acts, and its neighbours."""

    def url(self, path: str) -> str:
        """The URL of a path on this registry."""
        ...

    def url_at(self, to: str, path: str) -> str:
        """The URL of a path on a registry by name."""
        ...

    def place_signed(
        self, to: str | None, path: str | None, script: Script, terms: Terms, *, fresh: bool
    ) -> str:
        """Serve what a script serves by a signed URL, on a registry by name (None: this one)."""
        ...

    def hop(self, to: str | None, location: str, code: int) -> str:
        """A URL on a registry (None: this one) that is answered by a redirect to a location."""
        ...

    def grant(self, token: str) -> Grant | None:
        """What a token of any registry is for; None where nobody issued it."""
        ...

    def secret(self, name: str, kind: str, owner: str | None = None) -> str:
        """A secret of this registry, or of another by name, that opens nothing."""
        ...

    def rotate(self, tokens: bool) -> None:
        """Let this registry's passwords be new, and with `tokens` every token be dead."""
        ...

    def challenge_words(self, request: Request, facts: Facts) -> Mapping[str, str]:
        """What the true challenge says: realm, and of tokens service and scope."""
        ...


class Nowhere:
    """A host without a topology around it."""

    def url(self, path: str) -> str:
        """A URL that leads nowhere."""
        return "http://registry.invalid" + path

    def url_at(self, to: str, path: str) -> str:
        """Raise ValueError: there is no other registry."""
        raise ValueError(f"no registry named {to!r}")

    def place_signed(
        self, to: str | None, path: str | None, script: Script, terms: Terms, *, fresh: bool
    ) -> str:
        """Raise ValueError: nothing can be placed."""
        raise ValueError(f"redirect: no registry named {to!r}")

    def hop(self, to: str | None, location: str, code: int) -> str:
        """Raise ValueError: nothing can be placed."""
        raise ValueError(f"redirect: no registry named {to!r}")

    def grant(self, token: str) -> Grant | None:
        """Nobody issued it."""
        return None

    def secret(self, name: str, kind: str, owner: str | None = None) -> str:
        """A text that is no secret."""
        return f"secret {name}"

    def rotate(self, tokens: bool) -> None:
        """Nothing to rotate."""

    def challenge_words(self, request: Request, facts: Facts) -> Mapping[str, str]:
        """Nothing to say."""
        return {}


class Hosting:
    """The host that a registry is."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._topology = registry.topology

    def _at(self, to: str | None) -> Registry:
        return self._registry if to is None else self._topology.registry(to)

    def url(self, path: str) -> str:
        """The URL of a path on this registry."""
        return self._registry.url_for(path)

    def url_at(self, to: str, path: str) -> str:
        """The URL of a path on a registry by name."""
        return self._at(to).url_for(path)

    def place_signed(
        self, to: str | None, path: str | None, script: Script, terms: Terms, *, fresh: bool
    ) -> str:
        """Serve what a script serves by a signed URL, on a registry by name (None: this one)."""
        return self._at(to).place(script, path, terms, fresh=fresh)

    def hop(self, to: str | None, location: str, code: int) -> str:
        """A URL on a registry (None: this one) that is answered by a redirect to a location."""
        at = self._at(to)
        key = hashlib.sha256(f"{at.name} {code} {location}".encode()).hexdigest()[:40]
        at.storage.place(f"/hop/{key}", Placed(b"", "text/plain", None, location=(code, location)))
        return at.url_for(f"/hop/{key}")

    def grant(self, token: str) -> Grant | None:
        """What a token of any registry is for; None where nobody issued it."""
        from fakeregistry.auth.tokens import BearerAuth

        for registry in self._topology.registries.values():
            auth = registry.auth
            found = auth.grant(token) if isinstance(auth, BearerAuth) else None
            if found is not None:
                return found
        return None

    def secret(self, name: str, kind: str, owner: str | None = None) -> str:
        """A secret of this registry, or of another by name, that opens nothing."""
        owner = owner or self._registry.name
        return self._topology.secrets.new(f"{name} of {owner}", owner=owner, kind=kind)

    def rotate(self, tokens: bool) -> None:
        """Let this registry's passwords be new, and with `tokens` every token be dead."""
        from fakeregistry.auth.tokens import BearerAuth

        auth = self._registry.auth
        if auth is None:
            return
        auth.rotate()
        if tokens and isinstance(auth, BearerAuth):
            auth.expire()
            auth.revoke_refresh_tokens()

    def challenge_words(self, request: Request, facts: Facts) -> Mapping[str, str]:
        """What the true challenge says: realm, and of tokens service and scope."""
        auth = self._registry.auth
        return {} if auth is None else auth.challenge_words(facts.repository, request.method)


def path_of(url: str) -> str:
    """The path of a URL with its query."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
