"""Worlds: registries with content, certificates and credentials, and the lies told in them.

Each case is played in a *lying* world and, when it told a lie, in its *honest neighbour*: the same
function runs again, every lie is replaced by its truth, and every fault only observes. The author
of a case does nothing for that but say his lies through `World.lie` and `WorldRegistry.on`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from conformance import seeds
from conformance.contract import HostConfig
from conformance.observers import LyingRule, Observer
from fakeregistry import (
    BearerAuth,
    Certificates,
    Credentials,
    Exchange,
    Image,
    IndexSpec,
    LayerKey,
    Registries,
    Registry,
    Rule,
    Secrets,
    Spec,
    Target,
)

__all__ = ["Lie", "Where", "World", "WorldRegistry"]

T = TypeVar("T")
Where = Literal["content", "request", "certificate", "answer"]

ORIGIN = "origin"


@dataclass
class Lie:
    """One thing that is false in a world.

    ``met`` says whether the puller came across it; None where that goes without saying (a lie in
    the request itself). ``bait`` may be left alone: then the right outcome is *avoided*.
    """

    words: str
    where: Where
    met: Callable[[], bool] | None = None
    bait: bool = False


class WorldRegistry:
    """One registry of a world, as cases hold it: a fake registry whose rules know the world."""

    def __init__(self, world: World, registry: Registry) -> None:
        self._world = world
        self.real = registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_world", "real"):
            object.__setattr__(self, name, value)
            return
        if isinstance(value, BearerAuth):
            # The registry that hands out tokens knows itself, and not the one that wraps it here.
            realm = vars(value).get("_realm")
            if isinstance(realm, WorldRegistry):
                vars(value)["_realm"] = realm.real
        setattr(self.real, name, value)

    def add(
        self, spec: Spec, name: str = "app/web", tag: str = "v1", *, ns: str | None = None
    ) -> Image:
        """Place content, salted with the run's seed and the case's id; `ns`: of one upstream."""
        image = self.real.add(spec.salted(self._world.salt), name, tag, ns=ns)
        if ns is not None:
            self._world.upstreams.append((self.real.name, ns, image.digest))
        self._world.placed.append((self.real.name, image))
        return image

    def on(self, target: Target, **match: Any) -> Any:
        """A lie in the answers: a rule that acts in the lying world and observes in the honest."""
        rule = self.real.on(target, **match)
        if self._world.honest:
            return Observer(rule)
        self._world.rules.append((self.real.name, rule))
        return rule

    def given(self, target: Target, **match: Any) -> Rule:
        """A rule that is no lie, but a part of the world: a redirect to a CDN, for example."""
        rule = self.real.on(target, **match)
        self._world.circumstances.append((self.real.name, rule))
        return rule

    def end(self, rule: LyingRule) -> None:
        """Let a rule do nothing more; what it holds stays held until the rule is released."""
        real = rule.real if isinstance(rule, Observer) else rule
        self.real.rules.remove(real)
        self._world.ended.append(real)

    def kill_connections(self, how: str = "rst") -> int:
        """A lie: end every connection that is idle now; an honest world leaves them alone."""
        if self._world.honest:
            return 0
        ended = self.real.kill_connections(how)
        words = f"{ended} idle connections of {self.real.name} end by {how}"
        self._world.lies.append(Lie(words, "answer"))
        return ended

    def requests(self, target: Target | None = None, **match: Any) -> list[Exchange]:
        """The exchanges with this registry so far, oldest first."""
        return list(self.real.requests(target, **match))

    @property
    def contacted(self) -> bool:
        """Whether anybody connected, with or without a request."""
        return bool(self.requests()) or any(
            connection.registry == self.real.name
            for connection in self._world.registries.journal.connections
        )

    def saw(self, secret: str) -> bool:
        """Whether a secret (``password of origin``) came here, in whatever part of a request."""
        return any(seen.name == secret for exchange in self.requests() for seen in exchange.secrets)

    def as_host(self, *, path: str = "", **options: Any) -> HostConfig:
        """This registry as a mirror (or as ``server``) in the puller's configuration of hosts."""
        if not options.get("server"):
            self._world.mirrors.add(self.real.name)
        if self.real.tls is not None:
            options.setdefault("ca", self._world.ca_file)
        return HostConfig(url=self.real.base_url + path, **options)


@dataclass
class World:
    """Everything a puller meets in one run of a case.

    ``registry()`` is the origin, plain http on a loopback address; any other name is another
    host. ``salt`` is mixed into all content, ``secrets`` makes canaries from it.
    """

    seed: str
    case: str
    honest: bool
    registries: Registries
    directory: Path
    lies: list[Lie] = field(default_factory=list)
    rules: list[tuple[str, Rule]] = field(default_factory=list)
    circumstances: list[tuple[str, Rule]] = field(default_factory=list)
    ended: list[Rule] = field(default_factory=list)
    placed: list[tuple[str, Image]] = field(default_factory=list)
    upstreams: list[tuple[str, str, str]] = field(default_factory=list)
    canaries: set[str] = field(default_factory=set)
    allowed: list[tuple[str, str]] = field(default_factory=list)
    mirrors: set[str] = field(default_factory=set)
    _known: dict[str, WorldRegistry] = field(default_factory=dict)

    @property
    def salt(self) -> str:
        """What makes this world's content its own."""
        return seeds.world_salt(self.seed, self.case, honest=self.honest)

    @property
    def known(self) -> tuple[str, ...]:
        """The names of the registries so far."""
        return tuple(self._known)

    @property
    def secrets(self) -> Secrets:
        """The secret store of all registries of this world."""
        return self.registries.secrets

    @property
    def certificates(self) -> Certificates:
        """Every certificate that a registry can show: valid, expired, wrong host …"""
        return self.registries.certificates

    @property
    def ca_file(self) -> Path:
        """PEM file of the CA that signs every valid certificate here."""
        return self.registries.certificates.ca_file(self.directory)

    @property
    def outside(self) -> Path:
        """A folder beside the stores whose files are canaries: all that hostile content aims at."""
        return self.directory.parent / "outside"

    @property
    def client_certificate(self) -> tuple[Path, Path]:
        """PEM files of a client certificate and its key, both good."""
        return self.registries.certificates.client_certificate(self.directory)

    @property
    def wrong_client_certificate(self) -> tuple[Path, Path]:
        """PEM files of a client certificate and its key, by a CA that no registry trusts."""
        return self.registries.certificates.client_certificate(self.directory, known=False)

    def decryption_key(self, whose: str = "") -> Path:
        """PEM file of the private key of encrypted layers; of somebody else's, if told whose."""
        key = LayerKey(whose) if whose else LayerKey()
        path = self.directory / f"layers{'-of-a-stranger' if whose else ''}.pem"
        path.touch(mode=0o600)
        path.write_bytes(key.private_pem)
        return path

    def registry(self, name: str = ORIGIN) -> WorldRegistry:
        """The registry with that name, made when first asked for."""
        if name not in self._known:
            self._known[name] = WorldRegistry(self, self.registries.registry(name))
        return self._known[name]

    def canary(self, name: str = "evil") -> WorldRegistry:
        """A registry that must never be contacted; when it is, the case has failed."""
        self.canaries.add(name)
        return self.registry(name)

    def lie(
        self,
        words: str,
        false: T,
        *,
        truth: T,
        where: Where = "content",
        met: Callable[[], bool] | None = None,
        bait: bool = False,
    ) -> T:
        """`false` in the lying world, `truth` in the honest one.

        ``words`` complete the sentence 'in this world, …'. ``met``: whether the puller came
        across the lie; without it, content counts as met once anything was served, a certificate
        once anybody connected, and a request always.
        """
        if self.honest:
            return truth
        self.lies.append(Lie(words, where, met, bait))
        return false

    def wrong_credentials(self, registry: WorldRegistry) -> Credentials:
        """The registry's credentials with a false password; the right ones in an honest world."""
        right = registry.real.auth.credentials  # type: ignore[union-attr]
        wrong = Credentials(
            right.username, self.secrets.new(f"wrong password of {registry.real.name}")
        )
        return self.lie("the password is wrong", wrong, truth=right, where="request")

    def allow(self, secret: str, registry: str) -> None:
        """Say that a registry may see a secret, beyond those that may by themselves."""
        self.allowed.append((secret, registry))

    @property
    def told(self) -> list[str]:
        """Every lie of this world in words."""
        faults = [f"{rule.id}: {rule.words}" for _, rule in self.rules if rule.faults]
        return [lie.words for lie in self.lies] + faults

    def unmet(self) -> tuple[list[str], list[str]]:
        """The required lies, and the baits, that the puller didn't come across, in words."""
        required: list[str] = []
        baits: list[str] = []
        for _, rule in self.rules:
            if not rule.fired:
                (required if rule.required else baits).append(f"{rule.id}: {rule.words}")
        for lie in self.lies:
            if not self._met(lie):
                (baits if lie.bait else required).append(lie.words)
        return required, baits

    def _met(self, lie: Lie) -> bool:
        if lie.met is not None:
            return lie.met()
        if lie.where == "content":
            return any(self._served())
        if lie.where == "certificate":
            journal = self.registries.journal
            return bool(journal.connections) or bool(journal.exchanges())
        return True

    def _served(self) -> Iterator[Exchange]:
        for exchange in self.registries.journal.exchanges():
            if exchange.method == "GET" and exchange.status is not None and exchange.status < 300:
                yield exchange

    def image_of(self, reference: str) -> Image | None:
        """The placed image that a reference names, if it names one."""
        for _, image in reversed(self.placed):
            if reference in (image.reference, image.by_digest):
                return image
        return None

    def neutral(self, text: str) -> str:
        """A text without this run's ports: hosts become the names of registries."""
        for name, registry in self._known.items():
            text = text.replace(registry.real.host, name)
            text = text.replace(f"127.0.0.1:{registry.real.port}", name)
            text = text.replace(f"localhost:{registry.real.port}", name)
        return text

    def describe(self) -> str:
        """This world, without salt and ports: equal text means an equal honest world."""
        parts = []
        for name in sorted(self._known):
            real = self._known[name].real
            at = "" if real.address == "127.0.0.1" else f" at={real.address}"
            if real.http2:
                at += f" http2={real.max_concurrent_streams}"
            if real.prefix != "/v2":
                at += f" prefix={real.prefix}"
            parts.append(f"{name} tls={real.tls!r} auth={real.auth!r}{at}")
        parts += [f"{name} given {rule.words}" for name, rule in self.circumstances]
        parts += [f"{name} of {ns}: {digest}" for name, ns, digest in self.upstreams]
        for name, image in self.placed:
            spec = image.spec
            kind = "index" if isinstance(spec, IndexSpec) else type(spec).__name__
            parts.append(f"{name}/{image.repository}:{image.tag} {kind} {spec.digest}")
        return self.neutral("\n".join(parts))

    def fingerprint(self) -> str:
        """A short name of `describe`."""
        return hashlib.sha256(self.describe().encode()).hexdigest()

    def close(self) -> None:
        """Stop every registry; what is held is let go."""
        self.registries.close()
        for rule in self.ended:
            rule.gate.close()
