"""Manifests: which document a name stands for, and whether it is the one that was promised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller, Pulled
from conformance.world import World, WorldRegistry
from fakeregistry import Image, an_image, any_request, manifest, ping
from fakeregistry.honest.storage import Manifest
from fakeregistry.messages import Facts

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
WRONG_DIGEST = "sha256:" + "0123456789abcdef" * 4
MIB = 1 << 20
ENDLESS = 160 * MIB
MOST = 128 * MIB
"""Of an endless manifest: the most generous puller looks at 100 MiB before it gives up."""

Document = dict[str, Any]


def _word(pulled: Pulled) -> str:
    assert pulled.succeeded or pulled.refused
    return "pulled" if pulled.succeeded else "refused"


# What the registry says beside the document.


@case("manifests/header-digest-must-match", covers="MAN-07", needs={Evidence.STATUS}, either=True)
def header_digest(registry: WorldRegistry, puller: CasePuller) -> None:
    """A Docker-Content-Digest that the manifest doesn't have is never believed."""
    image = registry.add(an_image())
    registry.on(manifest(image)).digest_header(WRONG_DIGEST)
    # Whoever asks for the false digest is given the same document again.
    again = Manifest(image.manifest, image.media_type, WRONG_DIGEST)
    registry.storage.put_manifest(image.repository, again)

    pulled = puller.pull(image)

    assert pulled.succeeded or pulled.refused
    if pulled.succeeded:
        assert puller.has(image)


@case("manifests/missing-digest-header", covers="MAN-06", needs={Evidence.STATUS})
def missing_digest_header(registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that sends no Docker-Content-Digest can be pulled from."""
    image = registry.add(an_image())
    registry.on(manifest(image)).digest_header(None)

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@case("manifests/head-refused", covers="MAN-04", needs={Evidence.STATUS})
def head_refused(registry: WorldRegistry, puller: CasePuller) -> None:
    """Where HEAD is answered by 405, the manifest is asked for by GET."""
    image = registry.add(an_image())
    registry.on(manifest(image), method="HEAD").bait().status(405)

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@case("manifests/content-type-with-parameter", covers="MAN-12", needs={Evidence.STATUS})
def content_type_parameter(registry: WorldRegistry, puller: CasePuller) -> None:
    """A parameter behind the Content-Type of a manifest changes nothing."""
    image = registry.add(an_image())
    registry.on(manifest(image)).content_type(f"{OCI_MANIFEST}; charset=utf-8")

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@case("manifests/content-type-in-upper-case", covers="MAN-13", needs={Evidence.STATUS})
def content_type_case(registry: WorldRegistry, puller: CasePuller) -> None:
    """A Content-Type in upper case, with a blank before its parameter, is still the same type."""
    image = registry.add(an_image())
    registry.on(manifest(image)).content_type(f"{OCI_MANIFEST.upper()} ; charset=utf-8")

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@case("manifests/without-content-type", covers="MAN-14")
def without_content_type(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of a manifest that comes without a Content-Type."""
    image = registry.add(an_image())
    registry.on(manifest(image)).content_type(None)

    return observed("without Content-Type", _word(puller.pull(image)))


@case("manifests/warnings-change-nothing", covers="NET-17", needs={Evidence.STATUS})
def warnings(registry: WorldRegistry, puller: CasePuller) -> None:
    """A Warning header may be shown to the user, and changes nothing in what is pulled."""
    image = registry.add(an_image())
    registry.on(any_request()).header("Warning", '299 - "this registry will be switched off"')

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


# What is said where there is no document.


@case("manifests/unknown-tag-is-refused", covers="MAN-05", needs={Evidence.STATUS})
def unknown_tag(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A tag that the registry doesn't have fails the pull, and no image appears."""
    image = registry.add(an_image(), tag="v1")
    typed = world.lie(
        "there is no such tag", f"{image.name}:v2", truth=image.reference, where="request"
    )

    pulled = puller.pull(typed)

    assert pulled.refused
    assert puller.has_not(typed)


@case("manifests/forbidden-is-refused", covers="MAN-28", needs={Evidence.STATUS})
def forbidden(registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that answers 403 isn't pulled from, and no image appears."""
    image = registry.add(an_image())
    registry.on(manifest(image)).status(403)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("manifests/no-base-endpoint", covers="MAN-32")
def no_base_endpoint(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether a registry that answers 404 to GET /v2/ is pulled from."""
    image = registry.add(an_image())
    registry.on(ping()).bait().status(404)

    return observed("without /v2/", _word(puller.pull(image)))


@case("manifests/pull-category-suffices", covers="MISC-16", needs={Evidence.STATUS})
def pull_category(registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that knows manifests and blobs, and nothing else, can be pulled from."""
    image = registry.add(an_image())
    registry.on(_BeyondPull()).bait().status(404)

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@dataclass(frozen=True)
class _BeyondPull:
    """Requests for what a registry of the pull category alone doesn't have."""

    words: str = "tags, referrers, uploads"

    def matches(self, facts: Facts) -> bool:
        """Whether a request with these facts is meant."""
        return facts.kind in ("tags", "referrers", "upload", "other")


# What is asked.


@case("manifests/order-of-requests", covers="MAN-01")
def order_of_requests(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """By which requests a tag becomes a manifest."""
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    asked = [
        f"{each.method} by {'tag' if each.kind == 'tag_manifest' else 'digest'}"
        for each in registry.requests(manifest(image))
    ]
    return observed("manifest requests", ", ".join(asked))


@case("manifests/accept-names-known-types", covers="MAN-02")
def accept(registry: WorldRegistry, puller: CasePuller) -> None:
    """Accept names the OCI types of a manifest and of an index."""
    image = registry.add(an_image())

    puller.pull(image)

    asked = registry.requests(manifest(image).by_tag)
    assert asked
    for each in asked:
        lines = [value for name, value in each.request_headers if name.lower() == "accept"]
        assert {OCI_MANIFEST, OCI_INDEX} <= {word.strip() for word in ",".join(lines).split(",")}


# Documents that aren't what they should be.


@case("manifests/by-digest-must-match", covers="MAN-09", needs={Evidence.STATUS})
def by_digest(registry: WorldRegistry, puller: CasePuller) -> None:
    """Another manifest of the same length under the digest that was asked for is refused."""
    image = registry.add(an_image(annotations={"test.number": "1"}), tag="v1")
    other = registry.add(an_image(annotations={"test.number": "2"}), tag="v2")
    registry.on(manifest(image)).swap(other.manifest)

    pulled = puller.pull(image, by_digest=True)

    assert pulled.refused
    assert puller.has_not(image.by_digest)


@case("manifests/login-page-is-refused", covers="MAN-20", needs={Evidence.STATUS})
def login_page(registry: WorldRegistry, puller: CasePuller) -> None:
    """A web page in place of the manifest, with status 200, is refused."""
    image = registry.add(an_image())
    page = "<!doctype html><html><body><form>Please log in</form></body></html>"
    registry.on(manifest(image)).body(page, "text/html")

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("manifests/invalid-json-is-refused", covers="MAN-20", needs={Evidence.STATUS})
def invalid_json(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A manifest that isn't JSON is refused, though its digest is right."""
    raw = world.lie("the manifest ends in the middle", b'{"schemaVersion": 2, ', truth=None)
    image = registry.add(an_image(raw_manifest=raw))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("manifests/bytes-after-json-are-refused", covers="MAN-20b", needs={Evidence.STATUS})
def bytes_after_json(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A manifest with a second document behind its end is refused: it isn't JSON."""
    whole = an_image().salted(world.salt)
    raw = world.lie(
        "another document follows behind the manifest", whole.manifest + b'\n{"x": 1}', truth=None
    )
    image = registry.add(an_image(raw_manifest=raw))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


def _descriptor(image: Image) -> Document:
    return {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}


def _with(document: Document, **more: Any) -> Document:
    return {**document, **more}


@case("manifests/ambiguous-is-refused", covers="MAN-18", needs={Evidence.STATUS})
def ambiguous(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A manifest that also lists manifests, as an index does, is refused."""
    other = _descriptor(registry.add(an_image(1), tag="other"))
    lists = world.lie(
        "the manifest is an index, too", partial(_with, manifests=[other]), truth=None
    )
    image = registry.add(an_image(edit=lists))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("manifests/schema-1-keys-inside", covers="MAN-19")
def schema1_keys(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of a manifest that has 'fsLayers', as schema 1 does, beside its layers."""
    keys = world.lie(
        "the manifest has fsLayers",
        partial(_with, fsLayers=[{"blobSum": WRONG_DIGEST}]),
        truth=None,
    )
    image = registry.add(an_image(edit=keys))

    return observed("with fsLayers", _word(puller.pull(image)))


@case("manifests/index-inside-is-refused", covers="MAN-17", needs={Evidence.STATUS})
def index_inside(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A document that is served as a manifest and calls itself an index is refused."""
    says = world.lie(
        "its mediaType is that of an index", partial(_with, mediaType=OCI_INDEX), truth=None
    )
    image = registry.add(an_image(edit=says))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("manifests/docker-inside-oci-is-refused", covers="MAN-17b", needs={Evidence.STATUS})
def docker_inside(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A document that is served as an OCI manifest and calls itself Docker's is refused."""
    says = world.lie(
        "its mediaType is Docker's", partial(_with, mediaType=DOCKER_MANIFEST), truth=None
    )
    image = registry.add(an_image(edit=says))

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)


@case("manifests/unknown-properties-are-ignored", covers="MAN-31", needs={Evidence.STATUS})
def unknown_properties(registry: WorldRegistry, puller: CasePuller) -> None:
    """Properties that nobody knows, annotations and a subject don't hinder the pull."""
    subject = _descriptor(registry.add(an_image(1), tag="subject"))
    more: Document = {
        "x-unknown": {"a": [1]},
        "subject": subject,
        "artifactType": "application/x-test",
    }
    image = registry.add(an_image(edit=partial(_with, **more), annotations={"test.a": "b"}))

    pulled = puller.pull(image)

    assert pulled.succeeded
    assert puller.has(image)


@case("manifests/no-layers", covers="MAN-30")
def no_layers(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What becomes of an image without any layer."""
    image = registry.add(an_image(0))

    return observed("without layers", _word(puller.pull(image)))


# How much of a document.


@case("manifests/four-megabytes", covers="MAN-22")
def four_megabytes(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """Whether a manifest of four megabytes is pulled."""
    image = registry.add(an_image(annotations={"test.padding": "x" * 4_000_000}))

    return observed("4 MB", _word(puller.pull(image)))


def _most_sent(registry: WorldRegistry) -> int:
    return max(each.bytes_sent for each in registry.requests(manifest()))


@case("manifests/endless-is-given-up", covers="MAN-25", needs={Evidence.STATUS})
def endless(registry: WorldRegistry, puller: CasePuller) -> None:
    """A manifest whose body doesn't end is given up, and not read for ever."""
    image = registry.add(an_image())
    registry.on(manifest(image), method="GET").infinite_body(ENDLESS)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)
    assert _most_sent(registry) < MOST


@case("manifests/endless-without-digest-is-given-up", covers="MAN-25", needs={Evidence.STATUS})
def endless_without_digest(registry: WorldRegistry, puller: CasePuller) -> None:
    """The same where no header tells the digest, so that the body has to be read for it."""
    image = registry.add(an_image())
    registry.given(manifest(image)).digest_header(None)
    registry.on(manifest(image), method="GET").infinite_body(ENDLESS)

    pulled = puller.pull(image)

    assert pulled.refused
    assert puller.has_not(image)
    assert _most_sent(registry) < MOST


@case("manifests/tag-moves-in-mid-pull", covers="MAN-26", needs={Evidence.LAYOUT}, either=True)
def tag_moves(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A tag that moves after the first request for it gives one image whole, or a failure."""
    second = registry.add(an_image(1), tag="second")
    first = registry.add(an_image(2), tag="v1")
    move = registry.on(manifest(first).by_tag).after(1).bait()
    move.swap(second.manifest).digest_header(second.digest)
    # Either image is right, so that the first alone isn't what should have come.
    world.lie("the tag moves", True, truth=False, met=lambda: bool(move.fired), bait=True)

    pulled = puller.pull(first)

    assert pulled.succeeded or pulled.refused
    if pulled.succeeded:
        held = puller.layout(first)
        assert held is not None
        assert held.manifest_digest in (first.digest, second.digest)
