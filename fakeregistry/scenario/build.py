"""Builds the world of a scenario on registries: content, certificates, auth, rules.

Whoever judges pullers builds the same world twice: as the file says, and honest. What is a lie is
handed to a *teller*, which picks the false value or the true one; a rule that is a lie is left out
of an honest world (a rule with ``lie = false`` belongs to both).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fakeregistry.auth.tokens import Auth, basic, bearer
from fakeregistry.content import ImageSpec, IndexSpec, Schema1Spec
from fakeregistry.content.evil import DEFAULT_CANARY
from fakeregistry.placed import Image
from fakeregistry.proxies import Proxy
from fakeregistry.rules.rule import Rule
from fakeregistry.rules.targets import (
    Target,
    any_request,
    blob,
    challenge,
    config,
    connection,
    foreign_url,
    manifest,
    ping,
    proxy,
    redirect_target,
    referrers,
    tags,
    token,
    upload,
)
from fakeregistry.topology import Registries

from .content_build import DEFAULT_PLATFORM, ContentBuilder
from .model import ITS_MANIFEST, AuthPart, RegistryPart, RulePart, Scenario, TargetPart
from .objects import resolved
from .reader import Problem, ScenarioError

Teller = Callable[[str, Any, Any, str], Any]
"""``tell(words, false, true, where)``: the value that this world has.

``words`` complete 'in this world, …'; ``where`` is ``content`` or ``certificate``.
"""


class Stage(Protocol):
    """Who hands out registries by name."""

    def registry(self, name: str = ...) -> Any:
        """The registry with that name, made when first asked for."""
        ...


@dataclass
class Built:
    """A world that stands: what was placed, and the rules with their handles."""

    scenario: Scenario
    stage: Stage
    images: dict[str, Image] = field(default_factory=dict)
    rules: list[tuple[RulePart, Rule]] = field(default_factory=list)

    def spec(self, image_id: str, platform: str | None = None) -> ImageSpec | Schema1Spec:
        """The one image that a puller for this platform (None: the scenario's) should arrive at."""
        spec = self.images[image_id].spec
        if not isinstance(spec, IndexSpec):
            return spec
        pull = self.scenario.pull
        wanted = platform or (pull.platform if pull else None) or DEFAULT_PLATFORM
        return spec.image(wanted)

    def target(self, part: TargetPart) -> Target:
        """The target that a part of the file names."""
        if part.on in _PLAIN:
            return _PLAIN[part.on]()
        if part.on == "referrers":
            return referrers(self._manifest(part))
        if part.on == "manifest":
            target = manifest(self._manifest(part))
            return {"tag": target.by_tag, "digest": target.by_digest}.get(part.by or "", target)
        if part.image is None:
            return _NAMED[part.on](part.digest)
        if part.digest == ITS_MANIFEST:
            return blob(self.images[part.image].digest)
        spec = self.spec(part.image, part.platform)
        if part.on == "config":
            return config() if isinstance(spec, Schema1Spec) else config(spec)
        layer = None if part.layer is None else spec.layers[part.layer]
        return _NAMED[part.on](layer)

    def _manifest(self, part: TargetPart) -> Image | ImageSpec | Schema1Spec | str | None:
        if part.image is None:
            return part.digest
        return self.spec(part.image, part.platform) if part.platform else self.images[part.image]

    def seen(self, part: TargetPart) -> list[Any]:
        """The exchanges, or connections, so far that a part of the file means, oldest first."""
        host = self.stage.registry(part.registry)
        if part.on == "connection":
            made = host.topology.journal.connections
            return [one for one in made if one.registry == part.registry]
        return list(host.requests(self.target(part), **part.asking))


_PLAIN: Mapping[str, Callable[[], Target]] = {
    "token": token,
    "ping": ping,
    "challenge": challenge,
    "upload": upload,
    "tags": tags,
    "proxy": proxy,
    "any_request": any_request,
    "connection": connection,
}
_NAMED: Mapping[str, Callable[[Any], Target]] = {
    "blob": blob,
    "config": config,
    "redirect_target": redirect_target,
    "foreign_url": foreign_url,
}


def build(
    scenario: Scenario,
    registries: Registries,
    *,
    honest: bool = False,
    stage: Stage | None = None,
    tell: Teller | None = None,
) -> Built:
    """Build the scenario's world.

    ``honest``: every lie made true. ``stage`` hands out the registries (default: ``registries``
    itself); one whose registries have a method ``given`` gets the rules that are no lie by it.
    ``tell`` decides about each lie in content and certificates (default: by ``honest``).
    """
    stage = registries if stage is None else stage
    tell = tell or (lambda words, false, true, where: true if honest else false)
    built = Built(scenario, stage)
    for part in scenario.registries:
        if part.host:
            registries.call(part.name, part.host)
        _as_it_should_be(scenario, part, registries)
        if part.canary and hasattr(stage, "canary"):
            stage.canary(part.name)
        _set_up(stage.registry(part.name), part, registries, tell)
    content = _content(stage, tell)
    for image in scenario.images:
        try:
            spec = content.spec(image)
            for name in image.registry:
                options = {"ns": image.ns} if image.ns else {}
                placed = stage.registry(name).add(spec, image.name, image.tag, **options)
                built.images.setdefault(image.id, placed)
        except ValueError as error:
            where = str(scenario.path) if scenario.path.name else scenario.name
            problem = Problem(where, image.line, f"{image.id} can't be made: {error}")
            raise ScenarioError([problem]) from None
    for rule in scenario.rules:
        if honest and rule.lie:
            if rule.name:
                # What waits for it must still see it fire.
                install(built, rule, acting=False)
            continue
        built.rules.append((rule, install(built, rule)))
    return built


def _as_it_should_be(scenario: Scenario, part: RegistryPart, registries: Registries) -> None:
    """Make a proxy; a host stays what it was when it was made, on its port."""
    try:
        if part.proxy:
            registries.proxy(part.name)
        elif isinstance(registries.registries.get(part.name), Proxy):
            raise ValueError(f"{part.name!r} is a proxy: a registry needs another name")
    except ValueError as problem:
        where = str(scenario.path) if scenario.path.name else scenario.name
        raise ScenarioError([Problem(where, 0, str(problem))]) from None


def _set_up(host: Any, part: RegistryPart, registries: Registries, tell: Teller) -> None:
    if part.tls is not None:
        certificates, asked = registries.certificates, part.client_certificate
        chosen = certificates.get("valid", client_certificate_required=asked)
        if part.tls != "valid":
            false = certificates.get(part.tls, client_certificate_required=asked)
            words = f"the certificate of {part.name} is {part.tls.replace('_', ' ')}"
            chosen = tell(words, false, chosen, "certificate")
        host.tls = chosen
    host.address = part.address
    host.http2 = part.http2
    if part.max_concurrent_streams is not None:
        host.max_concurrent_streams = part.max_concurrent_streams
    if part.listening != "open":
        said = {"refuse": "refuses connections", "blackhole": "swallows connections"}
        words = f"{part.name} {said[part.listening]}"
        host.listening = tell(words, part.listening, "open", "answer")
    host.canary = part.canary
    if part.prefix:
        host.prefix = part.prefix
    if part.auth is not None:
        host.auth = _auth(part.name, part.auth, tell)


def _auth(name: str, part: AuthPart, tell: Teller) -> Auth:
    settings = dict(part.settings)
    if part.lie:
        said = ", ".join(f"{key} = {value!r}" for key, value in part.lie.items())
        settings |= tell(f"the auth of {name} lies: {said}", dict(part.lie), {}, "answer")
    if part.scheme == "basic":
        return basic(part.user, **settings)
    # Tokens without a user: anybody gets one, as for the public images of a big registry.
    settings.setdefault("anonymous", part.user is None and not settings.get("users"))
    return bearer(part.user, realm=part.realm, **settings)


def _content(stage: Stage, tell: Teller) -> ContentBuilder:
    def told(words: str) -> bool:
        return bool(tell(words, True, False, "content"))

    def url_of(name: str, layer: str) -> str:
        return str(stage.registry(name).foreign_url(layer))

    # A stage of a judge has a folder of its own to aim at.
    outside = getattr(stage, "outside", None)
    return ContentBuilder(told, url_of, DEFAULT_CANARY if outside is None else str(outside))


def install(built: Built, part: RulePart, *, acting: bool = True) -> Rule:
    """Put a rule into a world that stands, and return its handle; not `acting`, it only counts.

    Raises ValueError where another rule of the world has its name.
    """
    host = built.stage.registry(part.target.registry)
    install = host.on if part.lie else getattr(host, "given", host.on)
    # In a judge's honest world this is something like a rule: it takes the same words.
    rule: Rule = install(
        built.target(part.target), name=part.name or None, **part.target.asking, **part.around
    )
    if acting:
        rule.add(*(resolved(fault, built) for fault in part.faults))
    if part.window not in ("always", "once"):
        getattr(rule, part.window)(part.count)
    elif part.window == "once":
        rule.once()
    rule.per(part.per)
    if part.bait:
        rule.bait()
    return rule
