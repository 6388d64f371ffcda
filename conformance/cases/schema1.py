"""Schema 1: old manifests are pulled right or refused cleanly, and are held to their digest."""

from __future__ import annotations

from typing import Any

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.evidence import differences, powers_here
from conformance.golden import golden_tree
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import File, Layer, a_schema1_image, an_image, blob, manifest
from fakeregistry.content.descriptors import digest_of
from fakeregistry.content.schema1 import EMPTY_LAYER

SCHEMA1 = {"schema1"}
SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

Document = dict[str, Any]


@case("schema1/is-pulled-or-refused", covers="S1-01", needs={Evidence.STATUS})
def pulled_or_refused(registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 image is pulled, or refused before any layer is fetched, with the reason."""
    image = registry.add(a_schema1_image())

    pulled = puller.pull(image)

    assert pulled.succeeded or pulled.refused
    if pulled.refused:
        assert puller.has_not(image)
        assert not registry.requests(blob(), method="GET")
        assert pulled.says("schema", "media type", "mediatype", "prettyjws")


@case("schema1/layers-are-newest-first", covers="S1-02", needs={Evidence.ROOTFS},
      capabilities=SCHEMA1)  # fmt: skip
def newest_first(registry: WorldRegistry, puller: CasePuller) -> None:
    """A signed schema 1 image is converted: the layer that its list names first comes on top."""
    lower = Layer((File("etc/motd", "old\n"), File("etc/hosts", "old\n")))
    upper = Layer((File("etc/motd", "newer\n"),))
    image = registry.add(a_schema1_image((lower, upper)))

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert not differences(golden_tree(image.layers), puller.rootfs(image), powers_here())


@case("schema1/known-empty-layers-are-left-out", covers="S1-12", capabilities=SCHEMA1)
def known_empty(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer that the history calls thrown away isn't even fetched."""
    image = registry.add(a_schema1_image(empty_steps=2))

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert not registry.requests(blob(digest_of(EMPTY_LAYER)), method="GET")


@case("schema1/false-signature", covers="S1-06", capabilities=SCHEMA1)
def false_signature(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of a schema 1 image whose signature is over something else."""
    pulled = puller.pull(registry.add(a_schema1_image(signature="bad")))

    assert pulled.succeeded or pulled.refused
    return observed("false signature", "pulled" if pulled.succeeded else "refused")


# What a digest is worth.


@case("schema1/other-manifest-under-the-digest-is-refused", covers="S1-07",
      needs={Evidence.STATUS}, capabilities=SCHEMA1)  # fmt: skip
def other_manifest(registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 image that is pulled by digest is the one that has this digest."""
    image = registry.add(a_schema1_image())
    other = registry.add(a_schema1_image(layers=3), tag="v2")
    registry.on(manifest(image).by_digest, method="GET").body(other.manifest)

    pulled = puller.pull(image, by_digest=True)

    assert pulled.refused
    assert not puller.has(image.by_digest)


@case("schema1/other-form-under-the-digest-is-refused", covers="S1-07",
      needs={Evidence.STATUS})  # fmt: skip
def other_form(registry: WorldRegistry, puller: CasePuller) -> None:
    """What is pulled by digest has that digest, whatever form the registry serves it in."""
    image = registry.add(an_image())
    other = registry.add(a_schema1_image(layers=3), tag="v2")
    registry.on(manifest(image)).digest_header(image.digest).body(other.manifest, SIGNED)

    pulled = puller.pull(image, by_digest=True)

    assert pulled.refused
    assert not puller.has(image.by_digest)


@case("schema1/corrupt-layer-is-refused", covers="BLOB-02", needs={Evidence.STATUS},
      capabilities=SCHEMA1)  # fmt: skip
def corrupt_layer(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer of a schema 1 image is held to its digest, although nobody says how long it is."""
    image = registry.add(a_schema1_image())
    # A byte of the time in gzip's header: nothing but the digest tells.
    registry.on(blob(image.layers[1]), method="GET").flip_byte(5)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


# Documents that aren't what they should be.


def _short_history(document: Document) -> None:
    document["history"].pop()


def _no_history(document: Document) -> None:
    document["history"], document["fsLayers"] = [], []


def _broken_history(document: Document) -> None:
    document["history"][0]["v1Compatibility"] = "{"


def _beside(key: str, value: Any) -> Any:
    def edit(document: Document) -> None:
        document[key] = value

    return edit


@case("schema1/history-of-another-length-is-refused", covers="S1-09", needs={Evidence.STATUS},
      capabilities=SCHEMA1)  # fmt: skip
def short_history(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 manifest with fewer steps in its history than layers is refused."""
    edit = world.lie("the history lacks a step", _short_history, truth=None)
    image = registry.add(a_schema1_image(edit=edit))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("schema1/no-history-is-refused", covers="S1-09", needs={Evidence.STATUS},
      capabilities=SCHEMA1)  # fmt: skip
def no_history(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 manifest without layers and history is refused: nobody knows what it is."""
    edit = world.lie("layers and history are empty", _no_history, truth=None)
    image = registry.add(a_schema1_image(edit=edit))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("schema1/broken-history-is-refused", covers="S1-23", needs={Evidence.STATUS},
      capabilities=SCHEMA1)  # fmt: skip
def broken_history(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 manifest whose newest history entry isn't JSON is refused."""
    edit = world.lie("the newest step isn't JSON", _broken_history, truth=None)
    image = registry.add(a_schema1_image(edit=edit))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("schema1/layers-beside-is-refused", covers="S1-10", needs={Evidence.STATUS},
      capabilities=SCHEMA1)  # fmt: skip
def layers_beside(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 document that is an image manifest as well is refused."""
    other = registry.add(an_image(), tag="other")
    layers = [layer.descriptor for layer in other.layers]
    edit = world.lie("it has `layers` too", _beside("layers", layers), truth=None)
    image = registry.add(a_schema1_image(edit=edit))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("schema1/manifests-beside-is-refused", covers="S1-10", needs={Evidence.STATUS},
      capabilities=SCHEMA1)  # fmt: skip
def manifests_beside(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 document that is an index as well is refused."""
    other = registry.add(an_image(), tag="other")
    entries = [{"mediaType": other.media_type, "digest": other.digest, "size": len(other.manifest)}]
    edit = world.lie("it has `manifests` too", _beside("manifests", entries), truth=None)
    image = registry.add(a_schema1_image(edit=edit))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("schema1/config-beside", covers="S1-10b", capabilities=SCHEMA1)
def config_beside(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of a schema 1 document that has a `config` too, but no layers."""
    other = registry.add(an_image(), tag="other")
    edit = _beside("config", other.config)
    image = registry.add(a_schema1_image(edit=edit))

    pulled = puller.pull(image)

    assert pulled.succeeded or pulled.refused
    return observed("config beside", "pulled" if pulled.succeeded else "refused")
