"""Broken bodies: what a puller makes of the pieces, and that nothing wrong comes of them."""

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller, Pulled
from conformance.world import World, WorldRegistry
from fakeregistry import Image, an_image, blob

SIZE = 64 * 1024
CUT = 20_000
ENOUGH = 20
"""Requests for one layer: the most persistent of the pullers that were measured sends four."""
PULLS = 60
"""Pulls within which a store must have got rid of bad bytes: containerd's collector takes a while,
and until it has run, each pull fails at once."""


@case("resume/after-a-cut", covers="BLOB-05")
def after_a_cut(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of a layer whose body ends early once: resumed, fetched anew or given up."""
    image = _image(registry)
    registry.on(blob(image.layers[1])).first(1).truncate_after(CUT)

    return _what_became(registry, image, puller.pull(image))


@case("resume/after-a-reset", covers="BLOB-12", stalls=True)
def after_a_reset(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of a layer whose connection is reset once: resumed, fetched anew or given up."""
    image = _image(registry)
    broken = registry.on(blob(image.layers[1])).first(1)
    # A reset overtakes what was sent before it: give the puller time to read that.
    broken.stall_after(CUT, seconds=0.5).reset_after(CUT)

    return _what_became(registry, image, puller.pull(image))


@case("resume/range-ignored", covers="BLOB-07")
def range_ignored(registry: WorldRegistry, puller: CasePuller) -> None:
    """Who asks for the rest and is given the whole again takes the layer from that."""
    image = _image(registry)
    registry.on(blob(image.layers[1])).first(1).truncate_after(CUT)
    whole = registry.on(blob(image.layers[1]), range=True).bait().range_ignored()

    pulled = puller.pull(image)

    assert pulled.succeeded or not whole.fired, "was given the whole layer, and failed"


@case("resume/other-part-is-never-kept", covers="BLOB-08", needs={Evidence.STATUS}, either=True)
def other_part(registry: WorldRegistry, puller: CasePuller) -> None:
    """A part that begins elsewhere than asked, as its Content-Range says, doesn't get in."""
    image = _image(registry)
    registry.on(blob(image.layers[1])).first(1).truncate_after(CUT)
    registry.on(blob(image.layers[1]), range=True).bait().range_wrong_offset(-1000)

    pulled = puller.pull(image)

    assert pulled.refused or puller.has(image)


@case("resume/part-without-content-range", covers="BLOB-08b")
def part_without_content_range(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether the right part, in an answer that doesn't say which part it is, is used."""
    image = _image(registry)
    registry.on(blob(image.layers[1])).first(1).truncate_after(CUT)
    registry.on(blob(image.layers[1]), range=True).bait().partial_no_content_range()

    return _what_became(registry, image, puller.pull(image))


@case("resume/range-refused", covers="BLOB-10")
def range_refused(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of a layer whose rest is refused by 416: fetched anew, or given up."""
    image = _image(registry)
    registry.on(blob(image.layers[1])).first(1).truncate_after(CUT)
    registry.on(blob(image.layers[1]), range=True).bait().range_status(416)

    return _what_became(registry, image, puller.pull(image))


@case("resume/cut-every-time-ends", covers="RUNAWAY-01", needs={Evidence.STATUS})
def cut_every_time(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer whose body never brings a byte is given up after a few requests."""
    world.registries.request_cap = 300
    image = _image(registry)
    registry.on(blob(image.layers[1])).truncate_after(0)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)
    assert len(registry.requests(blob(image.layers[1]))) <= ENOUGH


@case("resume/next-pull-after-corruption", covers="BLOB-28", needs={Evidence.STATUS})
def next_pull_after_corruption(registry: WorldRegistry, puller: CasePuller) -> None:
    """Bytes that made one pull fail don't make the next ones fail, once the registry is sound."""
    image = _image(registry)
    registry.on(blob(image.layers[1])).first(1).flip_byte(CUT)

    assert puller.pull(image).refused

    assert any(puller.pull(image).succeeded for _ in range(PULLS)), "bad bytes stayed for good"
    assert puller.has(image)


def _image(registry: WorldRegistry) -> Image:
    return registry.add(an_image(layers=2, size=SIZE))


def _what_became(registry: WorldRegistry, image: Image, pulled: Pulled) -> Observed:
    requests = registry.requests(blob(image.layers[1]), method="GET")
    if not pulled.succeeded:
        how = "given up"
    elif any(each.status == 206 and each.ended == "complete" for each in requests):
        how = "resumed"
    else:
        how = "fetched anew" if len(requests) > 1 else "fetched once"
    return observed("the layer", how)
