"""Names: what a user types is a registry, a repository and a tag or digest, or it is refused.

Where a text is no name, nothing may be asked of anybody: a path that nobody has checked would go
to the registry as it was typed.
"""

from __future__ import annotations

import hashlib

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller, Pulled
from conformance.world import World, WorldRegistry
from fakeregistry import an_image, manifest
from fakeregistry.honest.storage import Manifest


def _refused_unasked(registry: WorldRegistry, pulled: Pulled) -> None:
    assert pulled.refused
    assert not registry.requests(manifest()), "a request was made for what is no name"


@case("names/uppercase-path-is-refused", covers="REF-06")
def uppercase_path(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A repository with an upper-case letter is refused, and no request is made for it."""
    image = registry.add(an_image(), name="app/web")
    typed = image.reference.replace("/web", "/Web")

    pulled = puller.pull(
        world.lie(
            "the repository has an upper case letter", typed, truth=image.reference, where="request"
        )
    )

    _refused_unasked(registry, pulled)


@case("names/bad-separator-is-refused", covers="REF-16")
def bad_separator(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Three underscores separate nothing: the name is refused, and no request is made for it."""
    image = registry.add(an_image(), name="app/we__b")
    typed = image.reference.replace("__", "___")

    pulled = puller.pull(
        world.lie(
            "three underscores are in the path", typed, truth=image.reference, where="request"
        )
    )

    _refused_unasked(registry, pulled)


@case("names/dot-dot-in-path-is-refused", covers="REF-16")
def dot_dot(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A path with '..' is refused: it must not become a request for another repository."""
    image = registry.add(an_image(), name="web")
    typed = image.reference.replace("/web", "/app/../web")

    pulled = puller.pull(
        world.lie("'..' is in the path", typed, truth=image.reference, where="request")
    )

    _refused_unasked(registry, pulled)


@case("names/overlong-tag-is-refused", covers="REF-14")
def overlong_tag(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A tag of 129 characters is refused, though the registry has it; one of 128 is pulled."""
    length = world.lie("the tag has 129 characters", 129, truth=128, where="request")
    image = registry.add(an_image(), tag="t" * length)

    pulled = puller.pull(image)

    _refused_unasked(registry, pulled)


@case("names/tag-with-leading-dot-is-refused", covers="REF-14")
def leading_dot(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A tag that begins with a dot is refused, though the registry has it."""
    tag = world.lie("the tag begins with a dot", ".v1", truth="v1", where="request")
    image = registry.add(an_image(), tag=tag)

    pulled = puller.pull(image)

    _refused_unasked(registry, pulled)


@case("names/url-form-is-refused", covers="REF-13")
def url_form(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A URL is no image name: it is refused, and no request is made."""
    image = registry.add(an_image())
    typed = f"http://{image.reference}"

    pulled = puller.pull(
        world.lie("a URL was typed, not a name", typed, truth=image.reference, where="request")
    )

    _refused_unasked(registry, pulled)


@case("names/short-digest-is-refused", covers="REF-09")
def short_digest(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A sha256 digest of 63 digits is refused, and no request is made for it."""
    image = registry.add(an_image())

    pulled = puller.pull(
        world.lie(
            "the digest lacks a digit", image.by_digest[:-1], truth=image.by_digest, where="request"
        )
    )

    _refused_unasked(registry, pulled)


@case("names/unknown-algorithm-is-refused", covers="REF-11")
def unknown_algorithm(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """What stands under a digest that nobody can verify is not pulled, though it is served."""
    image = registry.add(an_image())
    digest = f"md5:{hashlib.md5(image.manifest, usedforsecurity=False).hexdigest()}"
    served = Manifest(image.manifest, image.media_type, digest)
    registry.storage.put_manifest(image.repository, served, None)

    pulled = puller.pull(
        world.lie(
            "the digest is of an algorithm that no specification names",
            f"{image.name}@{digest}",
            truth=image.by_digest,
            where="request",
        )
    )

    assert pulled.refused


@case("names/sha512-digest", covers="REF-10", needs={Evidence.LAYOUT})
def sha512_digest(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """An image by its sha512 digest is pulled and verified so, or refused."""
    image = registry.add(an_image(algorithm="sha512"))

    pulled = puller.pull(image, by_digest=True)

    assert pulled.succeeded or pulled.refused
    return observed("by a sha512 digest", "pulled" if pulled.succeeded else "refused")


@case("names/tag-and-digest-takes-the-digest", covers="REF-07", needs={Evidence.LAYOUT})
def tag_and_digest(registry: WorldRegistry, puller: CasePuller) -> None:
    """With tag and digest the digest's content is pulled, or none; never that of the tag."""
    image = registry.add(an_image(1), tag="v1")
    registry.add(an_image(2), tag="v1")
    typed = image.by_digest.replace("@", ":v1@")

    pulled = puller.pull(typed)

    assert pulled.succeeded or pulled.refused
    if pulled.succeeded:
        held = puller.layout(typed) or puller.layout(image.by_digest)
        assert held is not None
        assert held.manifest_digest == image.digest


@case("names/missing-tag-is-latest", covers="REF-08", needs={Evidence.STATUS})
def missing_tag(registry: WorldRegistry, puller: CasePuller) -> None:
    """A name without tag and digest is pulled as 'latest'."""
    image = registry.add(an_image(), tag="latest")
    registry.add(an_image(1), tag="v1")

    pulled = puller.pull(image.name)

    assert pulled.succeeded
    assert registry.requests(manifest(image))
