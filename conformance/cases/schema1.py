"""Schema 1: old manifests are pulled right or refused cleanly, and are held to their digest."""

from __future__ import annotations

from conformance.case import case
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import WorldRegistry
from fakeregistry import a_schema1_image


@case("schema1/is-pulled-or-refused", covers="S1-01", needs={Evidence.STATUS})
def pulled_or_refused(registry: WorldRegistry, puller: CasePuller) -> None:
    """A schema 1 image is pulled, or refused before any layer is fetched and without a record."""
    image = registry.add(a_schema1_image())

    pulled = puller.pull(image)

    assert pulled.succeeded or pulled.refused
    if pulled.refused:
        assert puller.has_not(image)
