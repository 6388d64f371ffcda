"""Blobs: every byte that a manifest promises, and no other, under its own digest."""

from conformance.case import case
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import WorldRegistry
from fakeregistry import an_image, blob


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


@case("blob/corrupted-is-refused", covers="BLOB-02", needs={Evidence.STATUS})
def corrupted(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer with the right length and one wrong byte is refused, and the image isn't there."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[0])).always().flip_byte(-40)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)
