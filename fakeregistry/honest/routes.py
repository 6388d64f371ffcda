"""Routes: from a path to what it means, by the endpoints of the distribution specification."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, Map, Rule

NAME = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
"""A repository name (distribution-spec, "Pulling manifests"), of at most 255 characters."""
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class _Anything(BaseConverter):
    """A repository as it was written, slashes and faults included: the registry judges it."""

    regex = ".+?"
    part_isolating = False


class _Segment(BaseConverter):
    """One path segment, whatever is in it."""

    regex = "[^/]+"


@dataclass(frozen=True)
class Route:
    """An endpoint's name and what the path carries."""

    endpoint: str
    repository: str = ""
    reference: str = ""


def _rule(path: str, endpoint: str) -> Rule:
    return Rule(path, endpoint=endpoint, strict_slashes=False, merge_slashes=False)


_MAP = Map(
    [
        _rule("/v2/", "ping"),
        _rule("/v2/_catalog", "catalog"),
        _rule("/v2/<name:repository>/manifests/<segment:reference>", "manifest"),
        _rule("/v2/<name:repository>/blobs/<segment:reference>", "blob"),
        _rule("/v2/<name:repository>/blobs/uploads/", "uploads"),
        _rule("/v2/<name:repository>/blobs/uploads/<segment:reference>", "upload"),
        _rule("/v2/<name:repository>/tags/list", "tags"),
        _rule("/v2/<name:repository>/referrers/<segment:reference>", "referrers"),
        _rule("/token", "token"),
    ],
    converters={"name": _Anything, "segment": _Segment},
    strict_slashes=False,
    merge_slashes=False,
    redirect_defaults=False,
)
_ADAPTER = _MAP.bind("registry.invalid")


def route(path: str) -> Route:
    """Return what a decoded path means; the endpoint is "other" where it means nothing here."""
    return _kept(path) if len(path) <= 1024 else _route(path)


def _route(path: str) -> Route:
    try:
        endpoint, arguments = _ADAPTER.match(path, method="GET")
    except NotFound:
        return Route("other")
    return Route(
        endpoint, str(arguments.get("repository", "")), str(arguments.get("reference", ""))
    )


_kept = lru_cache(maxsize=1024)(_route)


def valid_name(name: str) -> bool:
    """Whether this is a repository name by the distribution specification."""
    return len(name) <= 255 and NAME.fullmatch(name) is not None


def is_digest(reference: str) -> bool:
    """Whether a reference is meant as a digest: only digests hold a colon."""
    return ":" in reference
