"""Repeats: the very same question over the same content has the same honest answer.

Pullers, and the tests of pullers, ask for the same manifest with the same headers time and again.
"""

from __future__ import annotations

from fakeregistry.messages import Answer, Headers, Request
from fakeregistry.script import Script

from .app import App

_KEPT = 256
_KEPT_SIZE = 4096
"""How many answers are kept, and up to which size of target and headers."""
_LASTING = frozenset({"ping", "tag_manifest", "manifest", "blob", "config"})
"""What depends on the request and on what is stored, and on nothing else: no clock, no token."""

_Key = tuple[str, str, Headers]


class Repeats:
    """Asks the honest registry, and remembers what it said as long as its content is the same."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._kept: tuple[int, dict[_Key, tuple[Answer, Script]]] = (-1, {})

    def answer(self, request: Request) -> tuple[Answer, Script]:
        """Return the honest answer, and the script that gives it."""
        if not self._app.plain or request.body or request.method not in ("GET", "HEAD"):
            return self._ask(request)
        kept = self._kept
        if kept[0] != self._app.storage.version:
            # One tuple, so that an answer never comes to stand beside a later version.
            kept = self._kept = (self._app.storage.version, {})
        key = (request.method, request.target, request.headers)
        found = kept[1].get(key)
        if found is None:
            found = self._ask(request)
            if found[0].facts.kind in _LASTING and _size(request) <= _KEPT_SIZE:
                if len(kept[1]) >= _KEPT:
                    kept[1].clear()
                kept[1][key] = found
        return found

    def _ask(self, request: Request) -> tuple[Answer, Script]:
        answer = self._app.answer(request)
        return answer, Script.of(answer.reply, head_only=request.method == "HEAD")


def _size(request: Request) -> int:
    return len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
