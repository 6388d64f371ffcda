"""Waiting: silence is given up where a limit was set, and slowness is no silence.

containerd 1.x looks at its progress every five seconds at the most often, so its second look comes
after ten: that is the slack of a limit of one second.
"""

from conformance.case import case
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import WorldRegistry
from fakeregistry import an_image, bearer, blob, token

PROGRESS = 1.0
WITHIN = 16.0
SIZE = 64 * 1024
MIB = 1 << 20


@case("timeouts/stalled-body-is-given-up", covers="PROG-01", needs={Evidence.STATUS}, stalls=True)
def stalled_body(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer whose bytes stop coming ends the pull soon after the progress timeout."""
    image = registry.add(an_image(layers=2, size=4 * MIB))
    registry.on(blob(image.layers[1])).stall_after(3 * MIB)

    pulled = puller.pull(image, progress_timeout=PROGRESS, within=WITHIN)

    assert pulled.refused
    assert puller.has_not(image)


@case("timeouts/early-stall-is-given-up", covers="PROG-01b", needs={Evidence.STATUS}, stalls=True)
def early_stall(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer that stalls among its very first bytes ends the pull as any other stall does."""
    image = registry.add(an_image(layers=2, size=SIZE))
    registry.on(blob(image.layers[1])).stall_after(20_000)

    pulled = puller.pull(image, progress_timeout=PROGRESS, within=WITHIN)

    assert pulled.refused
    assert puller.has_not(image)


@case(
    "timeouts/silent-registry-is-given-up", covers="PROG-08", needs={Evidence.STATUS}, stalls=True
)
def silent_registry(registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that takes a request and never answers ends the pull soon after the timeout."""
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1])).delay_headers()

    pulled = puller.pull(image, progress_timeout=PROGRESS, within=WITHIN)

    assert pulled.refused
    assert puller.has_not(image)


@case("timeouts/silent-token-server-is-given-up", covers="PROG-09", stalls=True)
def silent_token_server(registry: WorldRegistry, puller: CasePuller) -> None:
    """A token server that never answers ends the pull soon after the progress timeout."""
    registry.auth = bearer()
    image = registry.add(an_image(layers=2))
    registry.on(token()).delay_headers()

    auth = registry.auth.credentials
    pulled = puller.pull(image, auth=auth, progress_timeout=PROGRESS, within=WITHIN)

    assert pulled.refused


@case("timeouts/drip-is-progress", covers="PROG-07", stalls=True)
def drip(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer that comes in drops, each sooner than the progress timeout, is waited for."""
    image = registry.add(an_image(layers=2, size=8000))
    registry.given(blob(image.layers[1])).drip(size=500, every=0.4)

    pulled = puller.pull(image, progress_timeout=PROGRESS, within=WITHIN)

    assert pulled.succeeded


@case("timeouts/slow-body-is-waited-for", covers="BLOB-41", stalls=True)
def slow_body(registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer that comes slowly and steadily is pulled, where nobody set a limit."""
    image = registry.add(an_image(layers=2, size=8000))
    registry.given(blob(image.layers[1])).drip(size=500, every=0.2)

    assert puller.pull(image).succeeded


@case("timeouts/timeout-ends-the-pull", covers="WAIT-02", needs={Evidence.STATUS}, stalls=True)
def timeout(registry: WorldRegistry, puller: CasePuller) -> None:
    """A pull that takes longer than the time it was given altogether ends, and leaves no image."""
    image = registry.add(an_image(layers=2, size=SIZE))
    registry.on(blob(image.layers[1])).stall_after(20_000)

    pulled = puller.pull(image, timeout=PROGRESS, within=WITHIN / 2)

    assert pulled.refused
    assert puller.has_not(image)
