"""Records: by which names an image is known after a pull, and what a failed one leaves."""

from __future__ import annotations

from conformance.case import case
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import WorldRegistry
from fakeregistry import an_image


@case("records/image-id-is-the-config-digest", covers="IMG-01", needs={Evidence.IMAGE_ID})
def image_id(registry: WorldRegistry, puller: CasePuller) -> None:
    """An image's id is the digest of its config, in the answer and in the store."""
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert pulled.image_id == image.image_id
