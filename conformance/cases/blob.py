"""Blobs: every byte that a manifest promises, and no other, under its own digest."""

import base64
import posixpath
from dataclasses import replace
from typing import Any

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import (
    Exchange,
    ImageSpec,
    a_layer,
    an_image,
    basic,
    blob,
    config,
    foreign_url,
)

MIB = 1 << 20


@case("blob/intact-image-is-pulled", covers="BLOB-01", needs={Evidence.LAYOUT})
def intact_image(registry: WorldRegistry, puller: CasePuller) -> None:
    """An image without any fault arrives whole: manifest, config and each layer, byte for byte."""
    image = registry.add(an_image(layers=3))

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@case("blob/cut-short-is-refused", covers="BLOB-03", needs={Evidence.STATUS})
def cut_short(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer whose body always ends early is never committed, and the pull fails."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).truncate_after(100)
    # Whoever asks for the rest is refused it; pieces of 100 bytes would make the blob whole.
    registry.on(blob(image.layers[1]), range=True).bait().status(416)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/short-by-its-own-length-is-refused", covers="BLOB-03", needs={Evidence.STATUS})
def short_by_its_own_length(registry: WorldRegistry, puller: CasePuller) -> None:
    """A body that is too short, and whose own Content-Length agrees, isn't taken for the layer."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).swap(image.layers[1].blob[:1000])

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/corrupted-is-refused", covers="BLOB-02", needs={Evidence.STATUS})
def corrupted(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer with the right length and one wrong byte is refused, and the image isn't there."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[0])).always().flip_byte(-40)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/another-config-is-refused", covers="BLOB-02", needs={Evidence.STATUS})
def another_config(registry: WorldRegistry, puller: CasePuller) -> None:
    """A config that is sound in itself, but isn't the one that the manifest names, is refused."""
    image = registry.add(an_image(layers=2))
    assert isinstance(image.spec, ImageSpec)
    forged = image.spec.config.replace(b"/bin/tool", b"/bin/evil")
    registry.on(config(image)).swap(forged)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/forged-digest-header-is-not-believed", covers="BLOB-39", needs={Evidence.STATUS})
def forged_digest_header(registry: WorldRegistry, puller: CasePuller) -> None:
    """Other bytes of the layer's length aren't taken because a header gives the right digest."""
    image = registry.add(an_image(layers=2))
    asked = image.layers[1]
    registry.on(blob(asked)).swap(bytes(asked.size)).digest_header(asked.digest)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/too-long-is-never-kept", covers="BLOB-02", needs={Evidence.STATUS}, either=True)
def too_long(registry: WorldRegistry, puller: CasePuller) -> None:
    """Of a body that goes on after the layer's last byte, at most the layer itself is kept."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).chunked().append(1000)

    pulled = puller.pull(image)

    assert pulled.refused or puller.has(image)


@case("blob/endless-body-is-cut", covers="BLOB-04", needs={Evidence.STATUS}, either=True)
def endless(registry: WorldRegistry, puller: CasePuller) -> None:
    """Of a body without an end, little more than the layer's size is read."""
    image = registry.add(an_image(layers=2))
    # What sockets buffer on both sides has been seen to come to 6 MiB.
    registry.on(blob(image.layers[1])).infinite_body(cap=64 * MIB)

    pulled = puller.pull(image)

    sent = sum(each.bytes_sent for each in registry.requests(blob(image.layers[1])))
    assert pulled.refused or puller.has(image)
    assert sent <= 16 * MIB, "read on, far beyond the layer's size"


@case("blob/missing-is-refused", covers="BLOB-19", needs={Evidence.STATUS})
def missing(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer that the registry doesn't have makes the pull fail."""
    image = registry.add(an_image(layers=3))
    registry.on(blob(image.layers[1])).status(404)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/size-smaller-than-content-is-refused", covers="BLOB-03b", needs={Evidence.STATUS})
def size_smaller_than_content(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer that is longer than its descriptor says isn't trusted, though its digest is right."""

    def shrink(manifest: dict[str, Any]) -> None:
        manifest["layers"][1]["size"] -= 10

    lie = world.lie("a layer's size is given as ten bytes less than it has", shrink, truth=None)
    image = registry.add(an_image(layers=2, edit=lie))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/negative-size-is-refused", covers="BLOB-30", needs={Evidence.STATUS})
def negative_size(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer of size -1 isn't a layer of unknown size: the image is refused."""

    def negate(manifest: dict[str, Any]) -> None:
        manifest["layers"][1]["size"] = -1

    image = registry.add(
        an_image(layers=2, edit=world.lie("a layer's size is -1", negate, truth=None))
    )

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/path-in-a-digest-is-refused", covers="BLOB-37", needs={Evidence.STATUS})
def path_in_a_digest(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A digest that is a path leads nowhere: the image is refused, and nothing is written."""
    image = registry.add(an_image(layers=2, edit=_digest_lie(world, "sha256:../../../canary")))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/path-in-a-digest-is-not-requested", covers="BLOB-37b", either=True)
def path_in_a_digest_requested(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """No digest makes a puller ask this host for a path outside of the image's own repository."""
    far = "sha256:../../../../../nowhere"
    image = registry.add(an_image(layers=2, edit=_digest_lie(world, far)))

    puller.pull(image)

    paths = [posixpath.normpath(each.path) for each in registry.requests()]
    assert all(path == "/v2" or path.startswith("/v2/app/web/") for path in paths)


@case("blob/empty-digest-is-refused", covers="BLOB-37", needs={Evidence.STATUS})
def empty_digest(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A digest without a single digit isn't a layer that is there already: it is refused."""
    image = registry.add(an_image(layers=2, edit=_digest_lie(world, "sha256:")))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


def _digest_lie(world: World, digest: str) -> Any:
    def rename(manifest: dict[str, Any]) -> None:
        manifest["layers"][1]["digest"] = digest

    return world.lie(f"a layer's digest is {digest!r}", rename, truth=None)


@case("blob/false-data-is-not-used", covers="BLOB-35", needs={Evidence.STATUS}, either=True)
def false_data(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Bytes embedded in a descriptor that aren't the layer are refused, or fetched instead."""

    def embed(manifest: dict[str, Any]) -> None:
        layer = manifest["layers"][1]
        layer["data"] = base64.b64encode(b"x" * layer["size"]).decode()

    image = registry.add(
        an_image(layers=2, edit=world.lie("a descriptor's data is false", embed, truth=None))
    )

    pulled = puller.pull(image)

    assert pulled.refused or puller.has(image)


@case("blob/sha512-layer", covers="BLOB-36")
def sha512_layer(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether a layer named by a sha512 digest can be pulled; if so, it is the right one."""
    image = registry.add(an_image(layers=[a_layer(0), a_layer(1, algorithm="sha512")]))

    pulled = puller.pull(image)

    return observed("a sha512 layer", "pulled" if pulled.succeeded else "refused")


@case("blob/sha512-config", covers="BLOB-36")
def sha512_config(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether an image whose config has a sha512 digest can be pulled; if so, it is complete."""
    image = registry.add(an_image(layers=2, config_algorithm="sha512"))

    pulled = puller.pull(image)

    return observed("a sha512 config", "pulled" if pulled.succeeded else "refused")


@case("blob/layer-listed-twice", covers="BLOB-24")
def layer_listed_twice(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """How often a layer is fetched that one manifest lists twice; the pull succeeds anyway."""
    twice = a_layer(1)
    image = registry.add(an_image(layers=[a_layer(0), twice, twice]))

    pulled = puller.pull(image)

    assert pulled.succeeded
    again = len(registry.requests(blob(image.layers[1]), method="GET")) > 1
    return observed("a layer listed twice", "fetched again" if again else "fetched once")


@case("blob/shared-layer", covers="BLOB-23")
def shared_layer(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether a layer that came with one image is fetched again for the next."""
    first = registry.add(an_image(layers=2))
    second = registry.add(an_image(layers=3), tag="v2")

    assert puller.pull(first).succeeded
    assert puller.pull(second).succeeded

    again = len(registry.requests(blob(first.layers[0]), method="GET")) > 1
    return observed("a shared layer", "fetched again" if again else "fetched once")


@case("blob/content-type-of-a-blob", covers="BLOB-38")
def content_type_of_a_blob(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether sound bytes are refused because their Content-Type is another."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).content_type("text/html")

    pulled = puller.pull(image)

    return observed("a layer called text/html", "pulled" if pulled.succeeded else "refused")


@case("blob/foreign-layer-is-pulled", covers="BLOB-34", needs={Evidence.STATUS})
def foreign_layer(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A non-distributable layer that the registry has is pulled, though its own URL is dead."""
    cdn = world.registry("cdn")
    image = registry.add(_with_foreign_layer(cdn))
    cdn.on(foreign_url(image.layers[1])).bait().status(404)

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@case("blob/foreign-layer-sources", covers="BLOB-31")
def foreign_layer_sources(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether a layer is asked of the registry or of its own URL first, where both have it."""
    cdn = world.registry("cdn")
    image = registry.add(_with_foreign_layer(cdn))

    pulled = puller.pull(image)

    if not pulled.succeeded:
        return observed("asked first", "refused")
    asked = [each.registry for each in _layer_requests(world, image.layers[1].digest)]
    return observed("asked first", {"cdn": "the URL", "origin": "the registry"}[asked[0]])


@case("blob/corrupt-foreign-layer-is-refused", covers="BLOB-33", needs={Evidence.STATUS})
def corrupt_foreign_layer(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """What comes from a layer's own URL is verified like what comes from the registry."""
    cdn = world.registry("cdn")
    image = registry.add(_with_foreign_layer(cdn, served=False))
    cdn.on(foreign_url(image.layers[1])).flip_byte(-40)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("blob/foreign-url-gets-no-credentials", covers="BLOB-32", either=True)
def foreign_url_credentials(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A host that an image names in `urls`, and that asks for credentials, gets none."""
    registry.auth = basic()
    cdn = world.registry("cdn")
    image = registry.add(_with_foreign_layer(cdn, served=False))
    asking = cdn.on(foreign_url(image.layers[1])).bait().status(401)
    asking.header("WWW-Authenticate", 'Basic realm="downloads"')

    puller.pull(image, auth=registry.auth.credentials)

    assert not any(each.header("authorization") for each in cdn.requests())


def _with_foreign_layer(cdn: WorldRegistry, *, served: bool = True) -> ImageSpec:
    layer = replace(a_layer(1), foreign=True, urls=(cdn.foreign_url(),), served=served)
    return an_image(layers=[a_layer(0), layer])


def _layer_requests(world: World, digest: str) -> list[Exchange]:
    return world.registries.journal.exchanges(where=lambda each: each.digest == digest)
