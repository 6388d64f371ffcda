"""Faults of what a registry has: tags that move, things that go, what it won't know."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from fakeregistry.content.descriptors import digest_of
from fakeregistry.content.mediatypes import OCI_MANIFEST
from fakeregistry.messages import ERROR_CODES, Buffer, Content, error
from fakeregistry.script import Script

from .base import Faults, Setting
from .negotiation import saying
from .status import Status

_KNOWN_QUERIES = frozenset(
    {
        *("n", "last", "artifactType", "digest", "mount", "from"),
        *("service", "scope", "account", "client_id", "offline_token"),
        *("X-Signature", "X-Expires", "redirected"),
    }
)
"""What the distribution API and token services know, and what signs a URL here."""


@dataclass(frozen=True)
class TagFlip:
    """Let a tag point at another manifest or index, with true headers and digest.

    A tag that has moved, or one that is stale. The registry must have what it leads to.
    """

    other: Buffer = field(repr=False)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Answer the other manifest; by digest everything is as ever."""
        if setting.facts.kind != "tag_manifest" or script.status != 200:
            return script
        digest = digest_of(self.other)
        if script.content is not None and script.content.digest == digest:
            return script
        found = setting.find(digest)
        return saying(script, found or Content(self.other, _type_of(self.other), digest))


@dataclass(frozen=True)
class Deleted:
    """Answer 404 as if the object had been deleted; with `after = 1` it goes after the first time.

    The code is the true one for its kind.
    """

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say that it isn't there."""
        if script.content is None and script.status != 304:
            return script
        facts = setting.facts
        manifest = facts.kind in ("manifest", "tag_manifest")
        code, word = ("MANIFEST_UNKNOWN", "manifest") if manifest else ("BLOB_UNKNOWN", "blob")
        detail = facts.tag or facts.digest
        said = error(404, code, f"{word} unknown to registry", detail=detail)
        return script.with_reply(said.status, said.headers, said.body)


@dataclass(frozen=True)
class MissingRepo:
    """Answer as if there were no such repository, or as if it were hidden: 404, 401 or 403."""

    status: int = 404
    code: str | None = None

    def __post_init__(self) -> None:
        Status(self.status)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse whatever is asked of a repository."""
        if setting.facts.repository is None:
            return script
        usual, message = ERROR_CODES.get(self.status, ERROR_CODES[404])
        if self.status == 404:
            message = "repository name not known to registry"
        said = error(self.status, self.code or usual, message)
        return script.with_reply(said.status, said.headers, said.body)


@dataclass(frozen=True)
class RequireNs:
    """Refuse what doesn't say `?ns=`, or says another one than `ns`.

    So does a mirror of several registries: it can't know which one is meant.
    """

    ns: str | None = None
    status: int = 400

    def __post_init__(self) -> None:
        Status(self.status)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse where the query doesn't have it."""
        said = setting.request.argument("ns")
        if said is not None and self.ns in (None, said):
            return script
        return Status(self.status).edit(script, setting)


@dataclass(frozen=True)
class RejectUnknownQuery:
    """Refuse a query that the distribution API doesn't know, such as `?ns=`."""

    status: int = 400

    def __post_init__(self) -> None:
        Status(self.status)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse where the query has more."""
        if all(key in _KNOWN_QUERIES for key, _ in setting.request.query):
            return script
        return Status(self.status).edit(script, setting)


def _type_of(manifest: Buffer) -> str:
    try:
        said = json.loads(bytes(manifest)).get("mediaType")
    except (ValueError, AttributeError):
        said = None
    return said if isinstance(said, str) else OCI_MANIFEST


FAULTS: Faults = {
    "tag_flip": TagFlip,
    "deleted": Deleted,
    "missing_repo": MissingRepo,
    "require_ns": RequireNs,
    "reject_unknown_query": RejectUnknownQuery,
}
