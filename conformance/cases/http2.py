"""HTTP/2: what it alone does to a pull. Only for pullers that speak it, each in its own way.

The registry offers HTTP/1.1 too: who speaks that alone is asked nothing here.
"""

from typing import Any

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller, Pulled
from conformance.world import World, WorldRegistry
from fakeregistry import Image, an_image, blob, manifest

SIZE = 256 * 1024
CUT = 100_000
CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "CANCEL")
PROGRESS = 1.0
WITHIN = 16.0
SPEAKS = frozenset({"http2"})


@case("http2/refused-stream-is-asked-again", covers="HTTP2-01", capabilities=SPEAKS)
def refused_stream(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A request whose stream is refused before anything was done is sent again."""
    image = _image(world, registry)
    registry.on(blob(image.layers[1]), method="GET").first(1).refused_stream()

    assert _pull(puller, image).succeeded


@case("http2/goaway-that-took-nothing", covers="HTTP2-02", capabilities=SPEAKS)
def goaway_took_nothing(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A request that GOAWAY didn't take is sent again, on another connection."""
    image = _image(world, registry)
    rule = registry.on(manifest(image), method="GET").first(1)
    rule.goaway(last_id="none", then="close")

    assert _pull(puller, image).succeeded


@case("http2/goaway-ends-a-connection", covers="HTTP2-03", capabilities=SPEAKS)
def goaway_ends_a_connection(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """After GOAWAY what was taken is waited for, and nothing more is asked on that connection."""
    image = _image(world, registry)
    # Nothing else is under way then: no request can cross the GOAWAY.
    registry.on(manifest(image), method="GET").first(1).goaway(then="stay")

    pulled = _pull(puller, image)

    assert not [each for each in registry.requests() if each.ended == "goaway"]
    assert pulled.succeeded


@case("http2/reset-in-a-layer", covers="HTTP2-04", capabilities=SPEAKS)
def reset_in_a_layer(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of layers whose streams are reset in their bodies, each by another code."""
    image = _image(world, registry, layers=len(CODES))
    for layer, code in zip(image.layers, CODES, strict=True):
        registry.on(blob(layer), method="GET").first(1).bait().rst_stream(code, after=CUT)

    return _what_became(registry, image, _pull(puller, image))


@case(
    "http2/short-stream-is-never-kept",
    covers=("HTTP2-05", "BLOB-03"),
    needs={Evidence.STATUS},
    capabilities=SPEAKS,
)
def short_stream(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer whose stream ends in good order, short of its Content-Length, isn't taken."""
    image = _image(world, registry)
    registry.on(blob(image.layers[1]), method="GET").truncate_after(0)

    pulled = _pull(puller, image)

    assert pulled.refused
    assert puller.has_not(image)


@case(
    "http2/no-error-is-no-end",
    covers=("HTTP2-06", "BLOB-03"),
    needs={Evidence.STATUS},
    capabilities=SPEAKS,
)
def no_error_is_no_end(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A stream that is reset by NO_ERROR before its end hasn't ended: its layer isn't taken."""
    image = _image(world, registry)
    registry.on(blob(image.layers[1]), method="GET").no_content_length().rst_stream(
        "NO_ERROR", after=0
    )

    pulled = _pull(puller, image)

    assert pulled.refused
    assert puller.has_not(image)


@case(
    "http2/stalled-stream-is-given-up",
    covers="PROG-01",
    needs={Evidence.STATUS},
    capabilities=SPEAKS,
    stalls=True,
)
def stalled_stream(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer whose stream gets no more data ends the pull soon after the progress timeout."""
    image = _image(world, registry)
    registry.on(blob(image.layers[1]), method="GET").zero_window(CUT)

    pulled = _pull(puller, image, progress_timeout=PROGRESS, within=WITHIN)

    assert pulled.refused
    assert puller.has_not(image)


@case("http2/http-1-1-required", covers="HTTP2-07", capabilities=SPEAKS)
def http_1_1_required(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What a puller does that is told to ask by HTTP/1.1 instead."""
    image = _image(world, registry)
    registry.on(blob(image.layers[1]), method="GET", alpn="h2").http_1_1_required()

    pulled = _pull(puller, image)

    return observed("the request", "by HTTP/1.1" if pulled.succeeded else "given up")


def _image(world: World, registry: WorldRegistry, layers: int = 2) -> Image:
    registry.tls = world.certificates.valid()
    registry.http2 = True
    return registry.add(an_image(layers=layers, size=SIZE))


def _pull(puller: CasePuller, image: Image, **options: Any) -> Pulled:
    return puller.pull(image, http2=True, **options)


def _what_became(registry: WorldRegistry, image: Image, pulled: Pulled) -> Observed:
    if not pulled.succeeded:
        return observed("the layers", "given up")
    resumed = [
        any(each.status == 206 for each in registry.requests(blob(layer), method="GET"))
        for layer in image.layers
    ]
    return observed("the layers", "resumed" if all(resumed) else "fetched anew")
