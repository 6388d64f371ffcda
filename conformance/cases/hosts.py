"""Hosts: mirrors are asked first, fail without harm, and see only what is theirs."""

from __future__ import annotations

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import Image, an_image, any_request, basic, blob, config, manifest


def _at_both(registry: WorldRegistry, mirror: WorldRegistry) -> Image:
    """The same image at the registry and at its mirror; it is named by the registry."""
    spec = an_image(layers=2)
    mirror.add(spec)
    return registry.add(spec)


@case("hosts/mirror-is-asked-first", covers="HOST-18")
def mirror_first(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A mirror that has everything is asked alone, and the registry itself not at all."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)

    pulled = puller.pull(image, hosts=[mirror])

    assert pulled.succeeded
    assert mirror.requests(manifest(image))
    assert not registry.requests(), "the registry was asked though the mirror had everything"


@case("hosts/mirrors-are-asked-in-order", covers="HOST-18")
def mirrors_in_order(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Of two mirrors that have everything the first in the configuration is asked."""
    mirror, second = world.registry("mirror"), world.registry("mirror2")
    image = _at_both(registry, mirror)
    second.add(an_image(layers=2))

    pulled = puller.pull(image, hosts=[mirror, second])

    assert pulled.succeeded
    assert mirror.requests(manifest(image))
    assert not second.requests(), "the second mirror was asked though the first had everything"


@case("hosts/mirror-is-asked-by-its-own-name", covers="HOST-13")
def own_name(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Requests to a mirror carry the mirror's own name in Host, not the registry's."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)

    pulled = puller.pull(image, hosts=[mirror])

    assert pulled.succeeded
    assert {exchange.host for exchange in mirror.requests()} == {mirror.host}


@case("hosts/mirror-404-falls-back", covers="HOST-36")
def mirror_404(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """What a mirror doesn't have (404) is fetched from the registry itself."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    mirror.on(any_request()).status(404)

    assert puller.pull(image, hosts=[mirror]).succeeded


@case("hosts/mirror-5xx-falls-back", covers="HOST-36")
def mirror_5xx(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A mirror that is out of order (503) doesn't keep the image from its puller."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    mirror.on(any_request()).status(503)

    assert puller.pull(image, hosts=[mirror]).succeeded


@case("hosts/mirror-401-falls-back", covers="HOST-36")
def mirror_401(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A mirror that asks for a login that nobody has doesn't keep the image from its puller."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    mirror.auth = world.lie(
        "the mirror asks for a login",
        basic(),
        truth=None,
        where="answer",
        met=lambda: bool(mirror.requests(status=401)),
    )

    assert puller.pull(image, hosts=[mirror]).succeeded


@case("hosts/mirror-without-blobs-falls-back", covers="J06")
def mirror_without_blobs(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A mirror that has the manifest and none of its blobs doesn't end the pull."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    for target in (config(), blob()):
        mirror.on(target).bait().status(404)
    mirror.on(manifest(image)).observe()

    assert puller.pull(image, hosts=[mirror]).succeeded


@case("hosts/unreachable-mirror-falls-back", covers="HOST-36")
def unreachable_mirror(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A mirror that refuses connections doesn't keep the image from its puller."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    if world.lie("the mirror refuses connections", True, truth=False, where="answer"):
        mirror.stop()

    assert puller.pull(image, hosts=[mirror]).succeeded


@case(
    "hosts/corrupt-mirror-content-is-never-accepted",
    covers="HOST-38",
    needs={Evidence.LAYOUT},
    either=True,
)
def corrupt_mirror(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A mirror's layer with a wrong byte is never accepted: the pull fails, or asks elsewhere."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    mirror.on(blob(image.layers[1])).flip_byte(-40)

    pulled = puller.pull(image, hosts=[mirror])

    assert pulled.succeeded or pulled.refused


@case("hosts/pull-only-mirror-is-not-asked-for-tags", covers="HOST-30")
def pull_only_mirror(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A mirror that isn't trusted with tags isn't asked what a tag means."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)

    pulled = puller.pull(image, hosts=[mirror.as_host(capabilities=("pull",))])

    assert pulled.succeeded
    assert not mirror.requests(manifest().by_tag), "the mirror was asked for the tag"


@case("hosts/ns-goes-to-mirrors-alone", covers="HOST-12")
def ns_query(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """The registry itself gets no `ns`; recorded: whether a mirror gets one."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    mirror.on(blob(image.layers[0])).bait().status(404)

    puller.pull(image, hosts=[mirror])

    assert not registry.requests(query={"ns": True}), "the registry itself was sent `ns`"
    sent = bool(mirror.requests(query={"ns": registry.host}))
    return observed("ns to the mirror", "sent" if sent else "not sent")


@case("hosts/upstream-credentials-stay-from-mirror", covers="AUTH-36")
def upstream_credentials(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Recorded: whether a mirror that asks for a login is given the registry's password."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    registry.auth, mirror.auth = basic(), basic()

    puller.pull(image, auth=registry.auth.credentials, hosts=[mirror])

    return observed("password", "sent" if mirror.saw("password of origin") else "kept back")


@case("hosts/header-only-to-its-host", covers="HOST-34")
def header_to_its_host(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A header that is configured for a mirror goes to the mirror, and not to the registry."""
    mirror = world.registry("mirror")
    image = _at_both(registry, mirror)
    key = world.secrets.new("key of mirror")
    mirror.on(blob(image.layers[0])).status(404)

    pulled = puller.pull(image, hosts=[mirror.as_host(headers={"X-Mirror-Key": key})])

    assert mirror.saw("key of mirror"), "the mirror never saw its header"
    assert registry.requests(blob(image.layers[0]))
    assert not registry.saw("key of mirror"), "the mirror's header went to the registry"
    assert pulled.succeeded
