"""The steps of ``[pull]``, played: one after the other, each until it ends, is ended, or is left.

In an honest world nothing is held, so nothing is cancelled or left: each pull ends by itself, and
must succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conformance.contract import HostConfig, Trust
from conformance.pulls import CasePuller, Pulled, RunningPull
from conformance.world import World, WorldRegistry
from fakeregistry import Image
from fakeregistry.faults import name_of
from fakeregistry.scenario import HostPart, PullPart
from fakeregistry.scenario.build import Built

__all__ = ["Step", "played"]

_PATIENCE_S = 20.0
"""How long a step may take to come to the rule at which it is ended or left, in seconds."""
HOLDING = frozenset({"stall_after", "delay_headers", "wait_for"})
"""Faults by which a rule can hold an answer for ever; a rule without one can only have fired."""


@dataclass
class Step:
    """One step and its pulls. ``reached``: it came to the rule at which it is ended or left."""

    part: PullPart
    pulls: list[Pulled] = field(default_factory=list)
    reached: bool = True
    left: RunningPull | None = None


def played(built: Built, world: World, puller: CasePuller) -> Iterator[Step]:
    """Play the steps; each is given out as soon as it is over, so that it can be judged first.

    What was left under way comes once more at the end, with its pull.
    """
    left: list[Step] = []
    for part in built.scenario.pulls:
        for name in part.without:
            _end(built, name)
        step = Step(part)
        if part.stopped_at is None:
            step.pulls = _all(part, built, world, puller)
        else:
            _until(step, built, world, puller)
        if step.left is not None:
            left.append(step)
        else:
            yield step
    for step in left:
        assert step.left is not None
        _rule(built, step.part.leave_at or "").release()
        step.pulls = [step.left.wait()]
        yield step


def _all(part: PullPart, built: Built, world: World, puller: CasePuller) -> list[Pulled]:
    image, options = _image(part, built), _options(part, built, world)
    if part.parallel == 1:
        return [puller.pull(image, **options) for _ in range(part.times)]
    pulls: list[Pulled] = []
    for _ in range(part.times):
        running = [puller.start(image, **options) for _ in range(part.parallel)]
        pulls += [each.wait() for each in running]
    return pulls


def _until(step: Step, built: Built, world: World, puller: CasePuller) -> None:
    """Start a pull, and end or leave it once it has come to its rule."""
    part = step.part
    options = _options(part, built, world)
    running = puller.start(_image(part, built), **options)
    rule = _rule(built, part.stopped_at or "")
    if world.honest:
        rule.release()
        step.pulls, step.reached = [running.wait()], False
        return
    holds = any(name_of(fault).partition("(")[0] in HOLDING for fault in rule.faults)
    wait = rule.wait_holding if holds else rule.wait_fired
    step.reached = wait(_PATIENCE_S)
    if step.reached and part.leave_at:
        step.left = running
        return
    if step.reached and part.cancel_at:
        running.cancel()
    elif step.reached:
        running.kill()
    step.pulls = [running.wait()]


def _rule(built: Built, name: str) -> Any:
    """The rule with that name, as the world holds it; the file was checked for there being one."""
    return next(rule for part, rule in built.rules if part.name == name)


def _end(built: Built, name: str) -> None:
    """Take a rule back: what it holds stays held, and nothing new is done by it."""
    for part, rule in built.rules:
        if part.name == name:
            built.stage.registry(part.target.registry).end(rule)


def _image(part: PullPart, built: Built) -> Image:
    return built.images[part.image or next(iter(built.images))]


def _options(part: PullPart, built: Built, world: World) -> dict[str, Any]:
    image = _image(part, built)
    home = world.registry(image.registry.name)
    options: dict[str, Any] = {
        "platform": part.platform,
        "by_digest": part.by_digest,
        "auth": _auth(part, world, home),
        "trust": _trust(part, world, home),
        "decryption_keys": _decryption_keys(part, built, world),
        "proxy": _proxy(part, world),
        "http2": part.http2,
        "hosts": [_host(host, world) for host in part.hosts],
        "headers": part.headers,
        "timeout": part.timeout,
        "progress_timeout": part.progress_timeout,
        "max_concurrent_downloads": part.max_concurrent_downloads,
        "store": part.store,
    }
    plain = home.real.tls is None
    if part.plain_http not in (None, plain):
        words = f"the puller is told to speak {'plain http' if part.plain_http else 'https'}"
        options["plain_http"] = world.lie(words, part.plain_http, truth=plain, where="request")
    expect = built.scenario.expect
    if expect is not None and expect.at_most_s is not None and part.leave_at is None:
        options["within"] = expect.at_most_s
    return options


def _auth(part: PullPart, world: World, home: WorldRegistry) -> Any:
    """The credentials that are given. What can't work here is a lie of the request."""
    if part.auth_of is not None:
        other = world.registry(part.auth_of).real.auth
        given = None if other is None else other.credentials
        if part.auth_of == home.real.name or home.real.auth is None:
            return given
        # The puller is told to show them here: that isn't its leak.
        world.allow(f"password of {part.auth_of}", home.real.name)
        words = f"the credentials are those of {part.auth_of}"
        return world.lie(words, given, truth=home.real.auth.credentials, where="request")
    auth = home.real.auth
    if auth is None:
        return None
    if part.auth == "wrong":
        return world.wrong_credentials(home)
    if part.auth == "right":
        return auth.credentials
    if getattr(auth, "anonymous", False):
        return None
    return world.lie("no credentials are given", None, truth=auth.credentials, where="request")


def _trust(part: PullPart, world: World, home: WorldRegistry) -> Trust | None:
    """CA and client certificate. What can't work here is a lie of the request."""
    certificate = home.real.tls
    if certificate is None:
        return None
    ca: Path | None = world.ca_file
    if part.trust == "none":
        ca = world.lie("the puller isn't told of the CA", None, truth=ca, where="request")
    client: Any = world.client_certificate if certificate.client_certificate_required else None
    if client is not None and part.client_certificate != "right":
        wrong = None
        if part.client_certificate == "wrong":
            wrong = world.wrong_client_certificate
        words = f"the client certificate is {part.client_certificate}"
        client = world.lie(words, wrong, truth=client, where="request")
    shown, key = client or (None, None)
    # Who verifies though it isn't to finds the CA, and succeeds in the honest world alone.
    return Trust(ca, shown, key, part.trust == "skip")


def _decryption_keys(part: PullPart, built: Built, world: World) -> tuple[Path, ...]:
    """The key of encrypted layers, where the image has some."""
    image = built.scenario.image(part.image or next(iter(built.images)))
    if not (image.encrypted or any(layer.encrypted for layer in image.layers)):
        return ()
    right = (world.decryption_key(),)
    if part.decryption_key == "right":
        return right
    wrong = (world.decryption_key("a stranger"),) if part.decryption_key == "wrong" else ()
    words = f"the key of the layers is {part.decryption_key}"
    return world.lie(words, wrong, truth=right, where="request")


def _proxy(part: PullPart, world: World) -> str | None:
    """The URL of the proxy, with what it is to be told. What can't work is a lie of the request."""
    if part.proxy is None:
        return None
    proxy = world.registries.proxy(part.proxy)
    world.registry(part.proxy)
    right, auth = proxy.url, proxy.auth
    if auth is None or part.proxy_auth == "right":
        return right
    user = ""
    if part.proxy_auth == "wrong":
        password = world.secrets.new(f"wrong password of {part.proxy}")
        user = f"{auth.credentials.username}:{password}@"
    words = f"the password for the proxy is {part.proxy_auth}"
    false = f"{proxy.scheme}://{user}{proxy.host}"
    return world.lie(words, false, truth=right, where="request")


def _host(part: HostPart, world: World) -> HostConfig:
    registry = world.registry(part.registry)
    options: dict[str, Any] = {"server": part.server, "headers": dict(part.headers)}
    if part.capabilities:
        options["capabilities"] = part.capabilities
    if part.dial_timeout is not None:
        options["dial_timeout_s"] = part.dial_timeout
    if part.trust == "none":
        options["ca"] = None
    options["skip_verify"] = part.trust == "skip"
    if part.client_certificate:
        options["client_certificate"], options["client_key"] = world.client_certificate
    host = registry.as_host(path=part.path, override_path=part.override_path, **options)
    if not part.resolves:
        # RFC 6761, 6.4: nothing has a name below .invalid.
        words = f"the name of {part.registry} doesn't resolve"
        nowhere = host.url.replace(registry.real.hostname, f"{part.registry}.invalid", 1)
        host = replace(host, url=world.lie(words, nowhere, truth=host.url, where="request"))
    return host
