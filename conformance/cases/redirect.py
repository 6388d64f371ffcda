"""Redirects: content lies elsewhere, and what belongs to the registry stays with it."""

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import Image, an_image, basic, blob, redirect_target

ENOUGH = 60
"""Requests for a layer that redirects to itself: ten redirects each, for several tries."""


@case("redirects/redirect-is-followed", covers="BLOB-20")
def followed(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Layers that the registry keeps in object storage are fetched from there."""
    image = registry.add(an_image(layers=2))
    registry.given(blob()).redirect(to="cdn")

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert world.registry("cdn").requests(redirect_target())


@case("redirects/authorization-stays", covers="NET-13")
def authorization_stays(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """The registry's credentials aren't shown to the host that it redirects to."""
    registry.auth = basic()
    image = registry.add(an_image(layers=2))
    registry.given(blob()).redirect(to="cdn")

    pulled = puller.pull(image, auth=registry.auth.credentials)

    assert pulled.succeeded
    assert not _authorized(world.registry("cdn"))


@case("redirects/authorization-at-another-port", covers="NET-13b")
def authorization_at_another_port(
    world: World, registry: WorldRegistry, puller: CasePuller
) -> Observed:
    """Whether credentials follow a redirect to the same host name at another port."""
    registry.auth = basic()
    image = registry.add(an_image(layers=2))
    world.allow("password of origin", "cdn")
    elsewhere = _elsewhere(world, image, f"http://{registry.hostname}")
    registry.given(blob(image.layers[1])).redirect(to=elsewhere)

    pulled = puller.pull(image, auth=registry.auth.credentials)

    if not pulled.succeeded:
        return observed("credentials", "refused")
    return observed("credentials", "kept" if _authorized(world.registry("cdn")) else "dropped")


@case("redirects/configured-headers-stay", covers="NET-14")
def configured_headers_stay(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Headers that are configured for the registry aren't sent to where it redirects."""
    image = registry.add(an_image(layers=2))
    registry.given(blob()).redirect(to="cdn")

    pulled = puller.pull(image, headers={"X-Team-Token": "t0p"})

    assert pulled.succeeded
    assert not any(each.header("x-team-token") for each in world.registry("cdn").requests())


@case("redirects/https-to-http-has-no-credentials", covers="NET-16", either=True)
def https_to_http(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A redirect from https to plain http is refused, or followed without credentials."""
    registry.tls = world.certificates.valid()
    registry.auth = basic()
    image = registry.add(an_image(layers=2))
    elsewhere = _elsewhere(world, image, f"http://{registry.hostname}")
    registry.on(blob(image.layers[1])).redirect(to=elsewhere)

    pulled = puller.pull(image, auth=registry.auth.credentials)

    assert pulled.refused or pulled.succeeded
    assert not _authorized(world.registry("cdn"))


@case("redirects/loop-ends", covers="NET-12", needs={Evidence.STATUS})
def loop_ends(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer that redirects to itself is given up after a bounded number of requests."""
    world.registries.request_cap = 400
    image = registry.add(an_image(layers=2))
    layer = image.layers[1]
    itself = registry.url_for(f"/v2/{image.repository}/blobs/{layer.digest}")
    registry.on(blob(layer)).redirect(to=itself)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)
    assert len(registry.requests(blob(layer))) <= ENOUGH


@case("redirects/no-location-is-refused", covers="NET-15", needs={Evidence.STATUS})
def no_location(registry: WorldRegistry, puller: CasePuller) -> None:
    """A redirect that doesn't say where to is an error, and isn't asked for again and again."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).status(307, body="")

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)
    assert len(registry.requests(blob(image.layers[1]))) <= 8


@case("redirects/resume-behind-a-redirect", covers="BLOB-20b")
def resume_behind_a_redirect(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether who resumes behind a redirect asks the registry for a fresh URL, or the storage."""
    cdn = world.registry("cdn")
    image = registry.add(an_image(layers=2, size=64 * 1024))
    layer = image.layers[1]
    registry.given(blob(layer)).redirect(to=cdn.name)
    cdn.on(redirect_target(layer)).first(1).truncate_after(20_000)

    pulled = puller.pull(image)

    if not pulled.succeeded:
        return observed("resumes", "not at all")
    again = len(registry.requests(blob(layer), method="GET")) > 1
    return observed("resumes", "at the registry" if again else "at the storage")


def _elsewhere(world: World, image: Image, host: str) -> str:
    """The second layer's URL at the registry `cdn`, under another name for that machine."""
    cdn = world.registry("cdn")
    layer = image.layers[1]
    cdn.real.add(image.spec, image.repository)
    return f"{host}:{cdn.port}/v2/{image.repository}/blobs/{layer.digest}"


def _authorized(registry: WorldRegistry) -> bool:
    return any(each.header("authorization") for each in registry.requests())
