"""Several things at a time: layers of one pull, pulls of one image, and pulls that are ended."""

from conformance.case import case
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry import an_image, blob

SOON = 8.0
"""Seconds in which a pull must have ended that has nothing left to wait for."""
SIZE = 64 * 1024


@case(
    "concurrency/two-pulls-of-one-image",
    covers="CONC-08",
    needs={Evidence.STATUS},
    capabilities={"store"},
)
def two_pulls(registry: WorldRegistry, puller: CasePuller) -> None:
    """Two pulls of one image at the same time both succeed."""
    image = registry.add(an_image(layers=2))
    held = registry.given(blob(image.layers[1])).first(2).delay_headers()

    one = puller.start(image, within=SOON)
    assert held.wait_holding()
    other = puller.start(image, within=SOON)
    # A second request for the layer comes from pullers that don't share what they fetch.
    held.wait_holding(0.5, count=2)
    held.release()

    assert one.wait().succeeded
    assert other.wait().succeeded
    assert puller.has(image)


@case("concurrency/limit-is-kept", covers="CONC-01", stalls=True)
def limit_is_kept(registry: WorldRegistry, puller: CasePuller) -> None:
    """No more layers are asked for at a time than the limit of downloads allows."""
    image = registry.add(an_image(layers=5))
    held = registry.given(blob()).delay_headers()

    running = puller.start(image, max_concurrent_downloads=2, within=SOON)
    assert held.wait_holding(3.0)
    too_many = held.wait_holding(1.0, count=3)
    held.release()

    assert running.wait().succeeded
    assert not too_many, "three layers were asked for at a time"


@case("concurrency/failing-layer-ends-the-pull", covers="BLOB-43", needs={Evidence.STATUS})
def failing_layer(registry: WorldRegistry, puller: CasePuller) -> None:
    """A pull that has failed for one layer ends at once, though another layer stalls."""
    image = registry.add(an_image(layers=2))
    # Whoever fetches one layer after the other fails by the first, and never meets the stall.
    failing = registry.on(blob(image.layers[0])).delay_headers().status(404)
    stalling = registry.on(blob(image.layers[1])).bait().delay_headers()

    running = puller.start(image, within=SOON)
    failing.wait_holding()
    stalling.wait_holding(1.0)
    failing.release()

    assert running.wait().refused
    assert puller.has_not(image)


@case(
    "concurrency/cancelled-pull-leaves-the-other",
    covers="CONC-10",
    needs={Evidence.STATUS},
    capabilities={"store"},
)
def cancelled_pull_leaves_the_other(registry: WorldRegistry, puller: CasePuller) -> None:
    """Of two pulls of one image at the same time, one is cancelled, and the other succeeds."""
    # One layer: with more, containerd 1.6 loses now and then a snapshot that both pulls need.
    image = registry.add(an_image(layers=1))
    held = registry.given(blob(image.layers[0])).first(2).delay_headers()

    one = puller.start(image, within=SOON)
    assert held.wait_holding()
    other = puller.start(image, within=SOON)
    held.wait_holding(0.5, count=2)
    one.cancel()
    assert not one.wait().hung
    held.release()

    assert other.wait().succeeded
    assert puller.has(image)


@case("cancel/connections-are-closed", covers="CANC-01")
def connections_are_closed(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A pull that is cancelled ends, and closes the connection it was waiting for."""
    image = registry.add(an_image(layers=2, size=SIZE))
    stall = registry.on(blob(image.layers[1])).stall_after(20_000)

    running = puller.start(image, within=SOON)
    assert stall.wait_holding()
    running.cancel()

    assert not running.wait().hung
    assert world.registries.journal.wait_quiet(SOON), "a connection stayed open"


@case("cancel/no-image-is-left", covers="CANC-02", needs={Evidence.STATUS})
def no_image_is_left(registry: WorldRegistry, puller: CasePuller) -> None:
    """After a pull was cancelled the image isn't there."""
    image = registry.add(an_image(layers=2, size=SIZE))
    stall = registry.on(blob(image.layers[1])).stall_after(20_000)

    running = puller.start(image, within=SOON)
    assert stall.wait_holding()
    running.cancel()

    assert running.wait().refused
    assert puller.has_not(image)


@case("cancel/next-pull-succeeds", covers="CANC-03", needs={Evidence.STATUS})
def next_pull_succeeds(registry: WorldRegistry, puller: CasePuller) -> None:
    """After a pull was cancelled the same image can be pulled."""
    image = registry.add(an_image(layers=2, size=SIZE))
    stall = registry.on(blob(image.layers[1])).first(1).stall_after(20_000)

    running = puller.start(image, within=SOON)
    assert stall.wait_holding()
    running.cancel()
    assert running.wait().refused

    assert puller.pull(image).succeeded
    assert puller.has(image)


@case("cancel/next-pull-after-a-kill-succeeds", covers="CANC-07", needs={Evidence.STATUS})
def next_pull_after_a_kill(registry: WorldRegistry, puller: CasePuller) -> None:
    """After a puller was killed in the middle of a layer, the same image can be pulled."""
    image = registry.add(an_image(layers=2, size=SIZE))
    stall = registry.on(blob(image.layers[1])).first(1).stall_after(20_000)

    running = puller.start(image, within=SOON)
    assert stall.wait_holding()
    running.kill()
    running.wait()

    assert puller.pull(image).succeeded
    assert puller.has(image)
