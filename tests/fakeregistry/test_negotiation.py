"""What Accept makes of an answer, and what a registry has: tags, names, upstreams, another root."""

import hashlib
import json

import pytest
from rawclient import Raw, Received

from fakeregistry import Registry, an_image, an_index, blob, manifest, tags
from fakeregistry.content import a_schema1_image, nested_index

INDEX = "application/vnd.oci.image.index.v1+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
TAG = "/v2/app/web/manifests/v1"


def get(registry: Registry, path: str = TAG, method: str = "GET", **headers: str) -> Received:
    with Raw(registry) as raw:
        raw.ask(path, method, **headers)
        return raw.head() if method == "HEAD" else raw.answer()


def told(received: Received) -> tuple[str | None, str | None]:
    return received.header("content-type"), received.header("docker-content-digest")


# negotiation


@pytest.mark.parametrize(("policy", "status"), [("strict", 404), ("not_acceptable", 406)])
def test_a_type_must_be_accepted(registry, policy, status) -> None:
    image = registry.add(an_image())
    registry.on(manifest()).negotiate(policy)
    by_digest = f"/v2/app/web/manifests/{image.digest}"
    for accept in (OCI, f"{DOCKER}, {OCI.upper()}", "*/*", "application/*;q=0.1"):
        assert get(registry, Accept=accept).body == image.manifest
    assert get(registry).body == image.manifest
    for accept in (DOCKER, f"{OCI};q=0, {INDEX}", "text/*", ""):
        refused = get(registry, by_digest, Accept=accept)
        assert refused.status == status
        assert json.loads(refused.body)["errors"][0]["code"] == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize("depth", [1, 3])
def test_an_index_comes_to_who_knows_indexes(registry, depth) -> None:
    parts = {name: an_image(platform=name) for name in ("linux/arm64", "linux/amd64")}
    spec = an_index(*parts.values())
    for _ in range(depth - 1):
        spec = nested_index(spec, 1)
    index = registry.add(spec)
    usual = next(one for one in index.spec.images if one.platform == "linux/amd64")
    rule = registry.on(manifest()).negotiate("list_only_if_accepted")
    assert told(get(registry, Accept=f"{OCI}, {INDEX}")) == (index.media_type, index.digest)
    assert rule.fired == 0
    for accept in (OCI, "*/*", ""):
        chosen = get(registry, Accept=accept)
        assert chosen.body == usual.manifest
        assert told(chosen) == (usual.media_type, usual.digest)
    head = get(registry, method="HEAD", Accept=OCI)
    assert told(head) == (usual.media_type, usual.digest)
    assert head.header("content-length") == str(len(usual.manifest))
    by_digest = get(registry, f"/v2/app/web/manifests/{index.digest}", Accept=OCI)
    assert by_digest.body == index.manifest


def test_an_index_without_the_usual_image_stays_an_index(registry) -> None:
    index = registry.add(an_index(an_image(platform="linux/arm64")))
    registry.on(manifest()).negotiate("list_only_if_accepted")
    assert get(registry, Accept=OCI).body == index.manifest


def test_an_old_client_gets_schema_1(registry) -> None:
    image = registry.add(an_image(layers=2, docker=True), "app/web", "v1")
    registry.on(manifest()).negotiate("schema1")
    assert get(registry, Accept=DOCKER).body == image.manifest
    old = get(registry)
    assert old.header("content-type") == SIGNED
    document = json.loads(old.body)
    assert (document["schemaVersion"], document["name"], document["tag"]) == (1, "app/web", "v1")
    blobs = [layer["blobSum"] for layer in document["fsLayers"]]
    assert blobs == [layer.digest for layer in reversed(image.layers)]
    newest, oldest = (json.loads(one["v1Compatibility"]) for one in document["history"])
    assert newest["parent"] == oldest["id"]
    assert newest["architecture"] == "amd64"
    # As of any signed schema 1, the digest is that of the payload under the signatures.
    (signature,) = document["signatures"]
    import base64

    head = json.loads(base64.urlsafe_b64decode(signature["protected"] + "=="))
    tail = base64.urlsafe_b64decode(head["formatTail"] + "==")
    payload = old.body[: head["formatLength"]] + tail
    said = "sha256:" + hashlib.sha256(payload).hexdigest()
    assert old.header("docker-content-digest") == said


def test_what_cannot_be_converted_stays(registry) -> None:
    registry.on(manifest()).negotiate("schema1")
    old = registry.add(a_schema1_image())
    assert get(registry).body == old.manifest
    registry.add(an_index(an_image(platform="linux/arm64")))
    assert get(registry).header("content-type") == INDEX


# what there is


def test_a_tag_can_move(registry) -> None:
    old = registry.add(an_image())
    new = registry.add(an_image(layers=3), "app/web", None)
    flip = registry.on(manifest(old).by_tag).after(1).tag_flip(new)
    assert [get(registry).body for _ in range(3)] == [old.manifest, new.manifest, new.manifest]
    assert told(get(registry, method="HEAD")) == (new.media_type, new.digest)
    assert get(registry, f"/v2/app/web/manifests/{old.digest}").body == old.manifest
    assert get(registry, f"/v2/app/web/manifests/{new.digest}").body == new.manifest
    assert flip.fired == 3
    registry.on(manifest().by_tag).tag_flip(b'{"mediaType": "a/b"}')
    assert get(registry).header("content-type") == "a/b"
    registry.on(manifest().by_tag).tag_flip(b"no JSON")
    assert get(registry).header("content-type") == OCI


def test_things_go(registry) -> None:
    image = registry.add(an_image())
    layer = f"/v2/app/web/blobs/{image.layers[0].digest}"
    registry.on(blob(image.layers[0])).after(1).deleted()
    assert [get(registry, layer).status for _ in range(3)] == [200, 404, 404]
    assert json.loads(get(registry, layer).body)["errors"][0]["code"] == "BLOB_UNKNOWN"
    registry.on(manifest()).deleted()
    assert json.loads(get(registry).body)["errors"][0]["code"] == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), "NAME_UNKNOWN"), ((403,), "DENIED"), ((401,), "UNAUTHORIZED"), ((404, "X"), "X")],
)
def test_a_repository_can_be_missing(registry, arguments, code) -> None:
    registry.add(an_image())
    registry.on(tags()).missing_repo(*arguments)
    registry.on(manifest()).missing_repo(*arguments)
    for path in (TAG, "/v2/app/web/tags/list"):
        refused = get(registry, path)
        assert refused.status == (arguments or (404,))[0]
        assert json.loads(refused.body)["errors"][0]["code"] == code


def test_queries_that_are_needed_or_refused(registry) -> None:
    image = registry.add(an_image())
    registry.on(manifest()).require_ns("docker.io")
    queries = ("", "?ns=quay.io", "?ns=docker.io")
    assert [get(registry, TAG + query).status for query in queries] == [400, 400, 200]
    registry.on(blob()).require_ns(status=404)
    layer = f"/v2/app/web/blobs/{image.layers[0].digest}"
    assert [get(registry, layer + query).status for query in ("", "?ns=")] == [404, 200]
    registry.on(tags()).reject_unknown_query()
    path = "/v2/app/web/tags/list"
    assert [get(registry, path + query).status for query in ("?n=1", "?ns=docker.io")] == [200, 400]


def test_a_mirror_of_several_upstreams(registry) -> None:
    own = registry.add(an_image())
    hub = registry.add(an_image(layers=2), ns="docker.io")
    quay = registry.add(an_image(layers=3), ns="quay.io")
    for query, image in (
        ("", own), ("?ns=docker.io", hub), ("?ns=quay.io", quay), ("?ns=other", own)
    ):  # fmt: skip
        assert get(registry, TAG + query).body == image.manifest
    layer = f"/v2/app/web/blobs/{quay.layers[0].digest}"
    assert get(registry, layer + "?ns=quay.io").body == quay.layers[0].blob
    cut = registry.on(manifest(quay.spec)).status(503)
    assert get(registry, TAG + "?ns=quay.io").status == 503
    assert get(registry, TAG).status == 200
    assert cut.fired == 1


def test_the_api_can_stand_elsewhere(registry) -> None:
    image = registry.add(an_image())
    assert get(registry).status == 200
    registry.prefix = "/v2/mirror"
    assert get(registry).status == 404
    assert get(registry, "/v2/").status == 404
    assert get(registry, "/v2/mirror/").status == 200
    assert get(registry, "/v2/mirror/app/web/manifests/v1").body == image.manifest
    begun = get(registry, "/v2/mirror/app/web/blobs/uploads/", "POST")
    assert (begun.header("location") or "").startswith("/v2/mirror/app/web/blobs/uploads/")
    registry.prefix = "/mirror"
    registry.add(an_image(), "app/web", "v2")
    page = get(registry, "/mirror/app/web/tags/list?n=1")
    assert page.header("link") == '</mirror/app/web/tags/list?n=1&last=v1>; rel="next"'
    assert get(registry, "/v2/mirror/app/web/manifests/v1").status == 404
    for wrong in ("", "mirror", "/mirror/", "/a b"):
        with pytest.raises(ValueError, match="a path such as"):
            registry.prefix = wrong
