"""Indexes: which of several images is pulled, and that an index is input like any other."""

from __future__ import annotations

from functools import partial
from typing import Any

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import (
    Image,
    ImageSpec,
    IndexSpec,
    RawDescriptor,
    an_attestation,
    an_image,
    an_index,
    blob,
    manifest,
)
from fakeregistry.content import digest_of

AMD64 = "linux/amd64"
OTHER = "linux/s390x"
LEVELS = 8
SOON_S = 30.0
"""Of indexes that hold a thousand bytes each; whoever goes every way through them needs minutes."""
THING = b'{"schemaVersion": 2, "thing": "of the future"}'
"""A manifest of a type that nobody knows."""

Document = dict[str, Any]


def _image(platform: str = AMD64, size: int = 3000, **fields: Any) -> ImageSpec:
    """An image whose layers are its own: with another size, it shares none with its sisters."""
    return an_image(platform=platform, size=size, **fields)


def _other(platform: str = OTHER, **fields: Any) -> ImageSpec:
    return _image(platform, size=2000, **fields)


def _fetched(registry: WorldRegistry, image: ImageSpec) -> bool:
    """Whether the image's layers were; some pullers fetch the manifests and configs of all."""
    return any(registry.requests(blob(layer), method="GET") for layer in image.layers)


def _holds(puller: CasePuller, index: Image, image: ImageSpec) -> bool:
    held = puller.layout(index)
    return held is not None and held.manifest_digest == image.digest


def _thing(**fields: Any) -> RawDescriptor:
    known = {
        "mediaType": "application/vnd.test.thing.v1+json",
        "digest": digest_of(THING),
        "size": len(THING),
    }
    return RawDescriptor({**known, **fields}, content=THING)


# Which entry.


@case("indexes/right-platform", covers="IDX-01", needs={Evidence.LAYOUT})
def right_platform(registry: WorldRegistry, puller: CasePuller) -> None:
    """The image for the wanted platform is pulled, though another stands before it."""
    index = registry.add(an_index(_other(), _image()))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/no-match-is-refused", covers="IDX-02")
def no_match(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Where no entry is for the wanted platform, the pull fails."""
    platform = world.lie("no entry is for the wanted platform", "linux/arm64", truth=AMD64)
    index = registry.add(an_index(_other(), _image(platform)))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.refused


@case("indexes/empty-is-refused", covers="IDX-12")
def empty(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """An index without entries has no image: the pull fails."""
    index = registry.add(an_index(*world.lie("the index is empty", (), truth=(_image(),))))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.refused


@case("indexes/first-of-equals", covers="IDX-03", needs={Evidence.LAYOUT})
def first_of_equals(registry: WorldRegistry, puller: CasePuller) -> None:
    """Of two entries for the wanted platform the first is pulled."""
    index = registry.add(an_index(_image(), _other(AMD64)))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert pulled.image_id in (None, index.image(AMD64).image_id)
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/second-of-equals", covers="IDX-06")
def second_of_equals(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether the content of a second entry for the same platform is fetched too."""
    index = registry.add(an_index(_image(), _other(AMD64)))
    assert isinstance(index.spec, IndexSpec)
    second = index.spec.images[1]

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    return observed("second match", "fetched" if _fetched(registry, second) else "left alone")


@case("indexes/attestations-are-skipped", covers="IDX-08", needs={Evidence.LAYOUT})
def attestations(registry: WorldRegistry, puller: CasePuller) -> None:
    """The attestation of an image, which stands before it in the index, isn't taken for it."""
    image = _image()
    index = registry.add(an_index(an_attestation(image), image))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/greater-variant-is-not-taken", covers="IDX-05", needs={Evidence.LAYOUT})
def greater_variant(registry: WorldRegistry, puller: CasePuller) -> None:
    """An image for amd64/v3 is not taken for a machine that is only said to be amd64."""
    index = registry.add(an_index(_other(f"{AMD64}/v3"), _image()))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/first-variant-is-taken", covers="IDX-05b")
def first_variant(registry: WorldRegistry, puller: CasePuller) -> None:
    """amd64/v1 is what every amd64 machine runs: its image is pulled."""
    index = registry.add(an_index(_other(f"{AMD64}/v3"), _image(f"{AMD64}/v1")))
    first = index.image(f"{AMD64}/v1")

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _fetched(registry, first)


@case("indexes/features-are-needed", covers="IDX-14", needs={Evidence.LAYOUT})
def features(registry: WorldRegistry, puller: CasePuller) -> None:
    """An entry that needs an OS feature nobody has is passed over."""
    index = registry.add(an_index(_other(AMD64, os_features=("test-feature",)), _image()))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert pulled.image_id in (None, index.image(AMD64).image_id)
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/unknown-type-first", covers="IDX-09", needs={Evidence.LAYOUT})
def unknown_type(registry: WorldRegistry, puller: CasePuller) -> None:
    """An entry of unknown type for the wanted platform, before the image, is no error."""
    thing = _thing(platform={"os": "linux", "architecture": "amd64"})
    index = registry.add(an_index(thing, _image()))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/unknown-type-without-platform", covers="IDX-09b", needs={Evidence.LAYOUT})
def unknown_type_no_platform(registry: WorldRegistry, puller: CasePuller) -> None:
    """An entry of unknown type without a platform, before the image, is no error."""
    index = registry.add(an_index(_thing(), _image()))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/child-by-its-digest", covers="IDX-20", needs={Evidence.STATUS})
def child_by_digest(registry: WorldRegistry, puller: CasePuller) -> None:
    """One platform's image, which has no tag of its own, is pulled by its digest."""
    index = registry.add(an_index(_other(), _image()))
    child = index.image(AMD64)
    typed = f"{index.name}@{child.digest}"

    pulled = puller.pull(typed)

    assert pulled.succeeded
    assert puller.has(typed)
    assert registry.requests(blob(child.layers[0]), method="GET")


# What an index is.


@case("indexes/docker-manifest-list", covers="IDX-19", needs={Evidence.LAYOUT})
def docker_list(registry: WorldRegistry, puller: CasePuller) -> None:
    """A Docker manifest list is read as an OCI index is."""
    index = registry.add(an_index(_other(docker=True), _image(docker=True), docker=True))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/content-type-with-parameter", covers="MAN-12", needs={Evidence.LAYOUT})
def content_type_parameter(registry: WorldRegistry, puller: CasePuller) -> None:
    """A parameter behind the Content-Type of an index changes nothing."""
    index = registry.add(an_index(_other(), _image()))
    registry.on(manifest(index)).content_type(f"{index.media_type}; charset=utf-8")

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/nested-is-followed", covers="IDX-10", needs={Evidence.LAYOUT})
def nested(registry: WorldRegistry, puller: CasePuller) -> None:
    """An index in an index is followed to the image."""
    index = registry.add(an_index(an_index(_other(), _image())))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.succeeded
    assert _holds(puller, index, index.image(AMD64))


@case("indexes/deep-nesting-ends", covers="IDX-11", stalls=True, either=True)
def deep_nesting(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Indexes nested eight deep, each holding the next one twice, end in a few requests, soon."""
    spec = an_index(_image())
    for level in range(world.lie("indexes are nested", LEVELS, truth=0)):
        spec = an_index(spec, spec, annotations={"test.level": str(level)})
    index = registry.add(spec)

    pulled = puller.pull(index, platform=AMD64, within=SOON_S)

    assert pulled.succeeded or pulled.refused
    assert len(registry.requests(manifest())) < 5 * LEVELS


# Entries and documents that lie.


@case("indexes/wrong-child-is-refused", covers="IDX-16", needs={Evidence.STATUS})
def wrong_child(registry: WorldRegistry, puller: CasePuller) -> None:
    """Another manifest of the same length under an entry's digest is refused."""
    index = registry.add(an_index(_image(annotations={"test.number": "1"})))
    other = registry.add(_image(annotations={"test.number": "2"}), tag="other")
    registry.on(manifest(index.image(AMD64))).swap(other.manifest)

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.refused


@case("indexes/wrong-size-of-child-is-refused", covers="MAN-24")
def wrong_size(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A manifest that has another size than its entry says isn't trusted."""
    size = world.lie("the entry's size is false", {"size": 5000}, truth={})
    index = registry.add(an_index(_image(declared=size)))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.refused


def _also_image(document: Document, image: Document) -> Document:
    return {**document, **image}


@case("indexes/ambiguous-is-refused", covers="MAN-18")
def ambiguous(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """An index that also has a config and layers, as a manifest does, is refused."""
    image = _other(AMD64).salted(world.salt)
    keys = {"config": image.config_descriptor, "layers": [image.layers[0].descriptor]}
    also = world.lie("the index is a manifest, too", partial(_also_image, image=keys), truth=None)
    index = registry.add(an_index(_image(), edit=also))

    pulled = puller.pull(index, platform=AMD64)

    assert pulled.refused
