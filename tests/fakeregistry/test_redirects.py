"""Redirects in every form, and signed URLs that expire, over raw sockets."""

from urllib.parse import urljoin, urlsplit

import pytest
from rawclient import Raw, Received

from fakeregistry import Registries, Registry, an_image, blob, fault, manifest, redirect_target
from fakeregistry.faults.redirects import FORMS
from fakeregistry.placed import Image


@pytest.fixture
def cdn(registries: Registries) -> Registry:
    return registries.registry("cdn")


@pytest.fixture
def image(registry: Registry) -> Image:
    return registry.add(an_image(layers=2))


def layer(image: Image, number: int = 0) -> str:
    return f"/v2/app/web/blobs/{image.layers[number].digest}"


def get(registry: Registry, path: str, method: str = "GET", **headers: str) -> Received:
    with Raw(registry) as raw:
        raw.ask(path, method, **headers)
        return raw.head() if method == "HEAD" else raw.answer()


def location(registry: Registry, path: str, method: str = "GET") -> str:
    said = get(registry, path, method).header("location")
    assert said is not None
    return said


def follow(registries: Registries, url: str, method: str = "GET", **headers: str) -> Received:
    registry = registries.at(url)
    assert registry is not None
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return get(registry, path, method, **headers)


# forms


@pytest.mark.parametrize("form", ["absolute", "scheme_relative", "fragment", "userinfo"])
def test_forms_that_lead_to_another_host(registries, registry, cdn, image, form) -> None:
    registry.on(blob()).redirect(to=cdn, form=form)
    path = layer(image)
    said = location(registry, path)
    host = {"userinfo": f"@{cdn.host}/"}.get(form, f"//{cdn.host}/storage/")
    assert host in said
    assert said.startswith("//") == (form == "scheme_relative")
    assert said.endswith("#part") == (form == "fragment")
    assert ("://user:canary-" in said) == (form == "userinfo")
    there = urljoin(registry.url_for(path), said)
    assert follow(registries, there).body == image.layers[0].blob


@pytest.mark.parametrize("form", ["usual", "relative", "parent", "query_only", "absolute"])
def test_forms_on_the_same_host(registries, registry, image, form) -> None:
    registry.on(blob()).redirect(form=form)
    path = layer(image)
    said = location(registry, path)
    begins = {"parent": "../../../../storage/", "query_only": "?", "absolute": registry.base_url}
    assert said.startswith(begins.get(form, "/storage/"))
    there = urljoin(registry.url_for(path), said)
    assert follow(registries, there).body == image.layers[0].blob


def test_a_password_in_a_url_is_for_whom_it_leads_to(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, form="userinfo")
    user, _, _ = urlsplit(location(registry, layer(image))).netloc.rpartition("@")
    get(cdn, "/v2/", X_Said=user)
    get(registry, "/v2/", X_Said=user)
    assert [(leak.owner, leak.seen_at) for leak in registries.leaks()] == [("cdn", "origin")]


def test_forms_that_lead_nowhere(registry, cdn, image) -> None:
    registry.on(blob()).nth(1).redirect(to=cdn, form="no_location")
    registry.on(blob()).redirect(to=cdn, form="empty")
    answers = [get(registry, layer(image)) for _ in range(2)]
    assert [each.status for each in answers] == [307, 307]
    assert [each.header("location") for each in answers] == [None, ""]


def test_a_chain_of_hops(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, code=302, chain=3, form="relative")
    url = urljoin(registry.url_for(layer(image)), location(registry, layer(image)))
    seen = []
    for _ in range(3):
        answer = follow(registries, url)
        seen.append((answer.status, answer.header("location")))
        url = urljoin(url, seen[-1][1])
    assert all(status == 302 and said.startswith("/") for status, said in seen)
    assert follow(registries, url).body == image.layers[0].blob
    assert [each.kind for each in cdn.requests()] == ["redirect_target"] * 4


def test_loops(registries, registry, cdn, image) -> None:
    registry.on(blob(image.layers[0])).redirect(loop=True)
    registry.on(blob(image.layers[1])).redirect(to=cdn, loop=True)
    path, other = layer(image), layer(image, 1)
    assert location(registry, path) == path
    away = location(registry, other)
    assert away.startswith(cdn.base_url)
    assert follow(registries, away).header("location") == registry.url_for(other)


def test_a_registry_can_be_a_subdomain_of_another() -> None:
    names = {"origin": "registry.test", "cdn": "cdn.registry.test", "other": "registry.test"}
    with Registries(names=names) as registries:
        origin = registries.registry()
        image = origin.add(an_image())
        for name, host in names.items():
            there = registries.registry(name)
            origin.on(blob()).nth(1).redirect(to=there)
            assert urlsplit(location(origin, layer(image))).hostname == host or name == "origin"
            assert there.hostname == host


def test_downgrades_and_upgrades_are_what_the_target_speaks(registries, registry, cdn, image):
    cdn.tls = registries.certificates.valid()
    registry.on(blob()).redirect(to=cdn)
    assert location(registry, layer(image)).startswith("https://localhost:")
    cdn.tls = None
    assert location(registry, layer(image)).startswith("http://localhost:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"form": "odd"}, f"one of {', '.join(FORMS)}"),
        ({"to": "cdn", "form": "relative"}, "stays on this host"),
        ({"to": "cdn", "form": "query_only", "chain": 1}, "stays on this path"),
        ({"chain": -1}, "at least 0"),
        ({"chain": 101}, "at most 100"),
        ({"ttl": -1}, "at least 0"),
        ({"reject_authorization": "gcs"}, "one of s3, azure"),
        ({"to": "http://x/", "ttl": 2}, "neither loop nor signature"),
        ({"to": "http://x/", "loop": True}, "neither loop nor signature"),
    ],
)
def test_redirects_that_make_no_sense(arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        fault("redirect", arguments)


# signed URLs


def test_a_signed_url_expires_on_the_clock(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, ttl=300)
    url = location(registry, layer(image))
    assert "X-Expires=300" in url
    registries.clock.advance(299)
    assert follow(registries, url).body == image.layers[0].blob
    registries.clock.advance(2)
    late = follow(registries, url)
    assert late.status == 403
    assert b"<Code>AccessDenied</Code>" in late.body
    fresh = location(registry, layer(image))
    assert fresh != url
    assert follow(registries, fresh, Range="bytes=2-4").body == image.layers[0].blob[2:5]


def test_a_stale_redirect_is_given_again(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, ttl=5, fresh=False)
    url = location(registry, layer(image))
    registries.clock.advance(6)
    assert location(registry, layer(image)) == url
    assert follow(registries, url).status == 403


def test_a_signed_url_can_be_for_get_alone(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, method_bound=True)
    url = location(registry, layer(image), "HEAD")
    assert follow(registries, url, "HEAD").status == 403
    assert follow(registries, url).body == image.layers[0].blob


def test_a_signed_url_can_be_for_one_request(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, single_use=True)
    url = location(registry, layer(image))
    assert [follow(registries, url).status for _ in range(2)] == [200, 403]


@pytest.mark.parametrize(
    ("store", "code"), [("s3", b"InvalidArgument"), ("azure", b"InvalidAuthenticationInfo")]
)
def test_a_storage_refuses_a_second_credential(registries, registry, cdn, image, store, code):
    registry.on(blob()).redirect(to=cdn, reject_authorization=store)
    url = location(registry, layer(image))
    refused = follow(registries, url, Authorization="Bearer x")
    assert refused.status == 400
    assert code in refused.body
    assert refused.header("x-ms-error-code") == (code.decode() if store == "azure" else None)
    assert follow(registries, url).body == image.layers[0].blob


def test_a_forged_signature_is_refused(registries, registry, cdn, image) -> None:
    registry.on(blob(image.layers[0])).redirect(to=cdn, ttl=60)
    registry.on(blob(image.layers[1])).redirect(to=cdn, ttl=60)
    first, second = (location(registry, layer(image, number)) for number in (0, 1))
    swapped = first.partition("?")[0] + "?" + second.partition("?")[2]
    for url in (first.partition("?")[0], first.replace("canary", "canari"), swapped):
        refused = follow(registries, url)
        assert refused.status == 403
        assert b"SignatureDoesNotMatch" in refused.body


def test_a_signature_is_a_secret_of_its_storage(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, ttl=60)
    url = location(registry, layer(image))
    follow(registries, url)
    get(registry, "/v2/", Referer=url)
    (at_home,) = (one for each in cdn.requests() for one in each.secrets)
    assert (at_home.kind, at_home.owner, at_home.where) == ("signed URL", "cdn", "query")
    assert url.partition("X-Signature=")[2][:39] not in registries.journal.to_ndjson()
    assert [(leak.kind, leak.owner, leak.seen_at) for leak in registries.leaks()] == [
        ("signed URL", "cdn", "origin")
    ]


def test_a_chain_may_end_at_a_signed_url(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, ttl=60, chain=1)
    hop = location(registry, layer(image))
    last = follow(registries, hop).header("location") or ""
    registries.clock.advance(61)
    assert follow(registries, last).status == 403


def test_a_signed_path_on_the_same_host(registries, registry, image) -> None:
    registry.on(blob()).redirect(ttl=60)
    said = location(registry, layer(image))
    assert said.startswith("/signed/")
    assert get(registry, said).body == image.layers[0].blob


def test_rules_meet_signed_urls_too(registries, registry, cdn, image) -> None:
    registry.on(blob()).redirect(to=cdn, ttl=60)
    cut = cdn.on(redirect_target(image.layers[0])).truncate_after(3)
    path = location(registry, layer(image)).removeprefix(cdn.base_url)
    with Raw(cdn) as raw:
        assert len(raw.ask(path).rest().body) == 3
    assert cut.fired == 1


# where else clients are sent


def test_a_manifest_is_sent_on_to_a_web_page(registries, registry, image) -> None:
    web = registries.registry("web")
    registry.on(manifest(image).by_tag).after(1).redirect(to=web, code=302, path="/-/packages")
    web.on(redirect_target()).status(404).error_body(form="html")
    path = "/v2/app/web/manifests/v1"
    assert get(registry, path).status == 200
    page = follow(registries, location(registry, path))
    assert (page.status, page.header("content-type")) == (404, "text/html")


def test_an_upload_goes_on_elsewhere(registries, registry, cdn, image) -> None:
    from fakeregistry import upload

    registry.on(upload()).first(1).upload_location(to=cdn)
    registry.on(upload()).nth(2).upload_location(to="http://evil.invalid/x")
    path = "/v2/app/web/blobs/uploads/"
    first = location(registry, path, "POST")
    assert first.startswith(f"{cdn.base_url}{path}")
    assert location(registry, path, "POST") == "http://evil.invalid/x"
    assert location(registry, path, "POST").startswith(path)
