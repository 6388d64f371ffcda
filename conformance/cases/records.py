"""Records: by which names an image is known after a pull, and what a failed one leaves."""

from __future__ import annotations

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import an_image, an_index, any_request, blob, manifest

STORE = {"store"}
"""Cases of several pulls: the puller keeps what it has."""


# The names of an image.


@case("records/image-id-is-the-config-digest", covers="IMG-01", needs={Evidence.IMAGE_ID})
def image_id(registry: WorldRegistry, puller: CasePuller) -> None:
    """An image's id is the digest of its config."""
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert pulled.image_id == image.image_id


@case("records/index-id-is-the-config-digest", covers="IMG-01", needs={Evidence.IMAGE_ID})
def index_id(registry: WorldRegistry, puller: CasePuller) -> None:
    """An image that was chosen from an index has the digest of its own config for an id."""
    index = registry.add(an_index(an_image(), an_image(platform="linux/s390x")))

    pulled = puller.pull(index)

    assert pulled.succeeded
    assert pulled.image_id == index.image("linux/amd64").image_id


@case("records/tag-pull-records-three-names", covers="IMG-02", needs={Evidence.STATUS})
def three_names(registry: WorldRegistry, puller: CasePuller) -> None:
    """An image that was pulled by tag is known by its tag, its repo digest and its id."""
    image = registry.add(an_image())

    assert puller.pull(image).succeeded

    assert puller.has(image)
    assert puller.has(image.by_digest)
    assert puller.has_image_id(image.image_id)


@case("records/digest-pull-has-no-tag", covers="IMG-03", needs={Evidence.STATUS})
def no_tag(registry: WorldRegistry, puller: CasePuller) -> None:
    """An image that was pulled by digest is known by that and its id, until its tag is pulled."""
    image = registry.add(an_image())

    assert puller.pull(image, by_digest=True).succeeded
    assert puller.has(image.by_digest)
    assert puller.has_image_id(image.image_id)
    assert not puller.has(image.reference)

    assert puller.pull(image).succeeded
    assert puller.has(image.reference)


@case("records/repo-digest-can-be-pulled-again", covers="IMG-20", needs={Evidence.STATUS})
def repo_digest(registry: WorldRegistry, puller: CasePuller) -> None:
    """What a puller calls an image's repo digest brings the same image when it is pulled."""
    image = registry.add(an_index(an_image(), an_image(platform="linux/s390x")))
    first = puller.pull(image)
    shown = puller.status(image).repo_digests

    again = [puller.pull(name) for name in shown]

    assert again
    assert all(pulled.succeeded for pulled in again)
    assert {pulled.image_id for pulled in again} == {first.image_id}


# Tags that move.


@case("records/moved-tag-names-the-new-image", covers="IMG-08", needs={Evidence.STATUS},
      capabilities=STORE)  # fmt: skip
def moved_tag(registry: WorldRegistry, puller: CasePuller) -> None:
    """After a tag has moved and was pulled again, it names the new image."""
    old = registry.add(an_image())
    assert puller.pull(old).succeeded
    new = registry.add(an_image(layers=3))

    assert puller.pull(new).succeeded

    assert puller.has(new)
    assert puller.has_not(old)


@case("records/moved-tag-leaves-the-old-image", covers="IMG-08b", needs={Evidence.STATUS})
def old_image(registry: WorldRegistry, puller: CasePuller) -> None:
    """When a tag moves on, the image that it named before is still there by its id and digest."""
    old = registry.add(an_image())
    assert puller.pull(old).succeeded
    new = registry.add(an_image(layers=3))

    assert puller.pull(new).succeeded

    assert puller.has(old.by_digest)
    assert puller.has_image_id(old.image_id)


@case("records/second-pull-asks-again", covers="MISC-13", capabilities=STORE)
def second_pull(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What a second pull of the same tag asks the registry for."""
    image = registry.add(an_image())
    assert puller.pull(image).succeeded
    asked, blobs = len(registry.requests(any_request())), len(registry.requests(blob()))

    assert puller.pull(image).succeeded

    if len(registry.requests(any_request())) == asked:
        return observed("second pull", "asks nothing")
    more = len(registry.requests(blob())) - blobs
    return observed("second pull", "fetches blobs" if more else "asks for the manifest alone")


# What a failed pull leaves.


@case("records/failed-pull-leaves-no-record", covers="IMG-09", needs={Evidence.STATUS})
def failed_pull(registry: WorldRegistry, puller: CasePuller) -> None:
    """A pull whose last layer can't be had leaves nothing under tag, digest or id."""
    image = registry.add(an_image(layers=3))
    registry.on(blob(image.layers[2])).status(404)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)
    assert not puller.has(image.by_digest)
    assert not puller.has_image_id(image.image_id)


@case("records/index-without-a-match-leaves-no-record", covers="IMG-09", needs={Evidence.STATUS})
def no_match(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """An index that has nothing for the platform is refused, and isn't recorded."""
    platform = world.lie("no image is for amd64", "linux/s390x", truth="linux/amd64")
    index = registry.add(an_index(an_image(platform=platform)))

    pulled = puller.pull(index, platform="linux/amd64")

    assert pulled.refused
    assert not puller.has(index.reference)


@case("records/refused-layer-leaves-the-old-image", covers="IMG-09b", needs={Evidence.STATUS},
      capabilities=STORE)  # fmt: skip
def refused_layer(registry: WorldRegistry, puller: CasePuller) -> None:
    """When the image that a tag has moved to is refused, the tag still names the old one."""
    old = registry.add(an_image())
    assert puller.pull(old).succeeded
    new = registry.add(an_image(layers=3))
    registry.on(blob(new.layers[2])).flip_byte(-40)

    pulled = puller.pull(new)

    assert pulled.refused
    assert puller.has(old)
    assert puller.has_not(new)


@case("records/refused-index-leaves-the-old-image", covers="IMG-09b", needs={Evidence.STATUS},
      capabilities=STORE)  # fmt: skip
def refused_index(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """When a tag has moved to an index without a match, it still names the old image."""
    old = registry.add(an_image())
    assert puller.pull(old).succeeded
    platform = world.lie("no new image is for amd64", "linux/s390x", truth="linux/amd64")
    new = registry.add(an_index(an_image(layers=3, platform=platform)))

    pulled = puller.pull(new, platform="linux/amd64")

    assert pulled.refused
    assert puller.has(old)
    assert puller.has_not(new)


@case("records/removed-tag-leaves-the-old-image", covers="IMG-09b", needs={Evidence.STATUS},
      capabilities=STORE)  # fmt: skip
def removed_tag(registry: WorldRegistry, puller: CasePuller) -> None:
    """A tag that the registry has no more still names the image that was pulled by it."""
    image = registry.add(an_image())
    assert puller.pull(image).succeeded
    registry.on(manifest(image)).status(404)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has(image)
