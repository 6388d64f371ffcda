"""The way of answers: framing, waiting, trying again, and what registries say beside them."""

from itertools import pairwise

from conformance.case import Observed, case, observed
from conformance.pulls import CasePuller
from conformance.world import WorldRegistry
from fakeregistry import an_image, any_request, blob


@case("transport/chunked-bodies-are-read", covers="BLOB-42")
def chunked_bodies(registry: WorldRegistry, puller: CasePuller) -> None:
    """Layers that come in chunks, without Content-Length, are pulled."""
    image = registry.add(an_image(layers=2))
    registry.given(blob()).chunked()

    assert puller.pull(image).succeeded


@case("transport/connection-per-answer", covers="NET-21")
def connection_per_answer(registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that closes the connection after each answer can be pulled from."""
    image = registry.add(an_image(layers=2))
    registry.given(any_request()).header("Connection", "close")

    assert puller.pull(image).succeeded


@case("transport/warnings-change-nothing", covers="NET-17")
def warnings(registry: WorldRegistry, puller: CasePuller) -> None:
    """Warnings are for the user to read: an image that comes with one is pulled."""
    image = registry.add(an_image(layers=2))
    text = '299 - "this repository is deprecated: do not pull from it"'
    registry.given(any_request()).header("Warning", text)

    assert puller.pull(image).succeeded


@case("transport/one-429-is-survived", covers="NET-09")
def one_429(registry: WorldRegistry, puller: CasePuller) -> None:
    """One 'too many requests' in the middle of a pull doesn't end it."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).first(1).too_many_requests(retry_after=0)

    assert puller.pull(image).succeeded


@case("transport/retry-after-is-waited-for", covers="NET-08", stalls=True, either=True)
def retry_after(registry: WorldRegistry, puller: CasePuller) -> None:
    """Who tries again after a 429 waits as long as its Retry-After asks, and no less."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).first(1).too_many_requests(retry_after=2)

    puller.pull(image)

    asked = [each.times.opened for each in registry.requests(blob(image.layers[1]))]
    assert all(later - earlier >= 1.9 for earlier, later in pairwise(asked))


@case("transport/one-503", covers="NET-10")
def one_503(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether one 'service unavailable' in the middle of a pull ends it."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).first(1).status(503)

    pulled = puller.pull(image)

    return observed("after one 503", "pulled" if pulled.succeeded else "refused")


@case("transport/one-500", covers="NET-10")
def one_500(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether one internal error of the registry in the middle of a pull ends it."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).first(1).status(500)

    pulled = puller.pull(image)

    return observed("after one 500", "pulled" if pulled.succeeded else "refused")
