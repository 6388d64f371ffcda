"""Targets: what a rule is about, named by meaning. They match facts, never paths.

registry.on(blob(image.layers[1])).reset_after(64 * 1024)
registry.requests(manifest(image).by_tag)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from fakeregistry.messages import Facts, Kind


class HasDigest(Protocol):
    """Anything with a digest: a layer, a descriptor, an image specification, a placed image."""

    @property
    def digest(self) -> str:
        """The digest, `algorithm:hex`."""
        ...


class HasConfig(Protocol):
    """An image: something with a configuration."""

    @property
    def config_descriptor(self) -> HasDigest:
        """The descriptor of the configuration."""
        ...


class Target(Protocol):
    """What a rule is about."""

    @property
    def words(self) -> str:
        """The target as a person says it."""
        ...

    def matches(self, facts: Facts) -> bool:
        """Whether a request with these facts is meant."""
        ...


def _digest(thing: HasDigest | str | None) -> str | None:
    return thing if thing is None or isinstance(thing, str) else thing.digest


def _short(digest: str | None) -> str:
    if digest is None:
        return "any"
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}"


@dataclass(frozen=True)
class KindTarget:
    """Requests of some kinds, with a digest or with any. Denied requests are not meant."""

    noun: str
    kinds: tuple[Kind, ...]
    digest: str | None = None
    denied: bool = False

    @property
    def words(self) -> str:
        """The target as a person says it."""
        return self.noun if self.digest is None else f"{self.noun} {_short(self.digest)}"

    def matches(self, facts: Facts) -> bool:
        """Whether a request with these facts is meant."""
        if facts.kind not in self.kinds or (facts.denied and not self.denied):
            return False
        return self.digest is None or facts.digest == self.digest


@dataclass(frozen=True)
class ManifestTarget:
    """Requests for a manifest or index, by tag or by digest.

    A placed image is also meant where its tag is asked for on a host that has nothing there.
    """

    digest: str | None = None
    repository: str | None = None
    tag: str | None = None
    how: str = ""

    @property
    def by_tag(self) -> ManifestTarget:
        """The same, only where a tag is asked for."""
        return replace(self, how="tag")

    @property
    def by_digest(self) -> ManifestTarget:
        """The same, only where a digest is asked for."""
        return replace(self, how="digest")

    @property
    def words(self) -> str:
        """The target as a person says it."""
        return f"manifest {_short(self.digest)}" + (f" by {self.how}" if self.how else "")

    def matches(self, facts: Facts) -> bool:
        """Whether a request with these facts is meant."""
        if facts.denied or facts.kind not in ("tag_manifest", "manifest"):
            return False
        if self.how and (facts.kind == "tag_manifest") != (self.how == "tag"):
            return False
        if self.digest is None or facts.digest == self.digest:
            return True
        return (
            facts.kind == "tag_manifest"
            and self.tag is not None
            and (facts.repository, facts.tag) == (self.repository, self.tag)
        )


@dataclass(frozen=True)
class AnyTarget:
    """Every request, denied ones too."""

    words: str = "any request"

    def matches(self, facts: Facts) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class ChallengeTarget:
    """Every request that authentication refused: the answer is a challenge."""

    words: str = "challenge"

    def matches(self, facts: Facts) -> bool:
        """Whether the request was denied."""
        return facts.denied


@dataclass(frozen=True)
class ConnectionTarget:
    """Connections as they are accepted, before anybody has said a word."""

    words: str = "connection"

    def matches(self, facts: Facts) -> bool:
        """Never: no request is meant."""
        return False


def blob(thing: HasDigest | str | None = None) -> Target:
    """Requests for a blob (a layer, or a configuration by its digest); without one, for any."""
    return KindTarget("blob", ("blob",) if thing is None else ("blob", "config"), _digest(thing))


def config(image: HasConfig | HasDigest | str | None = None) -> Target:
    """Requests for the configuration of an image (or of this digest); without one, for any."""
    if image is None or isinstance(image, str):
        return KindTarget("config", ("config",), image)
    # An image is asked for its configuration; a descriptor is one.
    described: Any = getattr(image, "config_descriptor", image)
    return KindTarget("config", ("config", "blob"), str(described.digest))


def manifest(image: HasDigest | str | None = None) -> ManifestTarget:
    """Requests for a manifest or index: narrowed by `.by_tag` and `.by_digest`."""
    repository = getattr(image, "repository", None)
    tag = getattr(image, "tag", None)
    return ManifestTarget(
        _digest(image),
        repository if isinstance(repository, str) else None,
        tag if isinstance(tag, str) else None,
    )


def token() -> Target:
    """Requests to the token service, refused ones too."""
    return KindTarget("token", ("token",), denied=True)


def ping() -> Target:
    """Requests for `/v2/`, also where they end in a challenge."""
    return KindTarget("ping", ("ping",), denied=True)


def upload() -> Target:
    """Requests that push a blob."""
    return KindTarget("upload", ("upload",))


def tags() -> Target:
    """Requests for the list of a repository's tags."""
    return KindTarget("tags", ("tags",))


def referrers(image: HasDigest | str | None = None) -> Target:
    """Requests for what refers to an image, or to any."""
    return KindTarget("referrers", ("referrers",), _digest(image))


def challenge() -> Target:
    """Requests that authentication refused, whatever they asked for."""
    return ChallengeTarget()


def redirect_target(thing: HasDigest | str | None = None) -> Target:
    """Requests that follow a redirect to this registry, of one object or of any."""
    return KindTarget("redirect target", ("redirect_target",), _digest(thing))


def foreign_url(thing: HasDigest | str | None = None) -> Target:
    """Requests for a layer's own URL, of one layer or of any."""
    return KindTarget("foreign URL", ("foreign_url",), _digest(thing))


def proxy() -> Target:
    """Requests that come to a proxy, whichever host they ask for; refused ones too."""
    return KindTarget("proxy", ("proxy",), denied=True)


def any_request() -> Target:
    """Every request, whatever it asks for."""
    return AnyTarget()


def connection() -> Target:
    """Every connection, as it is accepted: for faults before any request, and for counting."""
    return ConnectionTarget()
