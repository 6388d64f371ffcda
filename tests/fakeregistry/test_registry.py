"""Registries together: images, rules and their windows, redirects, handlers, caps, the plugin."""

import subprocess
import sys
import threading

import httpx
import pytest
from pytest_httpserver import HTTPServerError
from rawclient import Raw

from fakeregistry import (
    Image,
    Layer,
    Registries,
    Registry,
    a_layer,
    a_schema1_image,
    an_image,
    an_index,
    any_request,
    basic,
    blob,
    config,
    fault,
    foreign_url,
    manifest,
    ping,
    redirect_target,
)
from fakeregistry.journal.httplog import BODY_LIMIT

MANIFEST = "/v2/app/web/manifests/v1"


@pytest.fixture
def image(registry: Registry) -> Image:
    return registry.add(an_image(2))


@pytest.fixture
def client():
    with httpx.Client(trust_env=False) as client:
        yield client


def blob_url(image: Image, layer: Layer) -> str:
    return image.registry.url_for(f"/v2/{image.repository}/blobs/{layer.digest}")


# topology and images


def test_names_and_hosts(registries: Registries) -> None:
    origin, mirror = registries.registry(), registries.registry("mirror")
    assert origin.host == f"127.0.0.1:{origin.port}"
    assert mirror.host == f"localhost:{mirror.port}"
    assert mirror.base_url == f"http://localhost:{mirror.port}"
    assert registries.registry("mirror") is mirror
    assert set(registries.registries) == {"origin", "mirror"}
    assert registries.at(mirror.url_for("/x")) is mirror
    assert registries.at(origin.host) is origin
    assert registries.at("http://elsewhere/") is None


def test_a_placed_image_is_typed_like_any_other(registry, image) -> None:
    assert image.reference == f"{registry.host}/app/web:v1"
    assert image.by_digest == f"{registry.host}/app/web@{image.spec.digest}"
    assert image.image_id == image.config.digest == image.spec.image_id
    assert image.layers == image.spec.layers
    untagged = registry.add(an_image(1), "app/other", None)
    assert untagged.reference == untagged.by_digest


def test_everything_of_an_index_is_served(client, registry) -> None:
    spec = an_index(an_image(1), an_image(1, platform="linux/arm64", salt="arm"))
    image = registry.add(spec)
    assert client.get(registry.url_for(MANIFEST)).content == spec.index
    for each in spec.images:
        url = registry.url_for(f"/v2/app/web/manifests/{each.digest}")
        assert client.get(url).content == each.manifest
        assert client.get(blob_url(image, each.layers[0])).content == each.layers[0].blob
    assert image.image("linux/arm64").platform == "linux/arm64"
    with pytest.raises(TypeError, match="choose one of its images"):
        _ = image.layers


def test_signed_schema1_is_served_as_it_is(client, registry) -> None:
    image = registry.add(a_schema1_image(), "app/old", "v7")
    answer = client.get(registry.url_for("/v2/app/old/manifests/v7"))
    assert answer.content == image.manifest
    assert (
        answer.headers["Content-Type"]
        == "application/vnd.docker.distribution.manifest.v1+prettyjws"
    )
    assert answer.headers["Docker-Content-Digest"] == image.digest
    assert answer.json()["name"] == "app/old"


def test_salt_makes_content_ones_own() -> None:
    with Registries(salt="a") as one, Registries(salt="b") as two, Registries() as none:
        images = [r.registry().add(an_image()) for r in (one, two, none)]
    assert len({image.digest for image in images}) == 3
    assert images[2].spec == an_image()


def test_foreign_layers_lie_at_their_own_url(client, registries, registry) -> None:
    url = registries.registry("cdn").foreign_url("windows base")
    layer = Layer(a_layer(0).entries, foreign=True, urls=(url,), served=False)
    image = registry.add(an_image([layer]))
    assert client.get(blob_url(image, image.layers[0])).status_code == 404
    assert client.get(url).content == image.layers[0].blob
    [exchange] = registries.registry("cdn").requests(foreign_url(image.layers[0]))
    assert exchange.kind == "foreign_url"


# rules


@pytest.mark.parametrize(
    ("window", "statuses"),
    [
        (("always",), "FFFFFF"),
        (("first", 2), "FFokok"),
        (("nth", 2), "okFok"),
        (("after", 2), "okokFF"),
        (("every", 2), "okFokF"),
    ],
)
def test_windows(client, registry, image, window, statuses) -> None:
    rule = registry.on(manifest(image)).status(500)
    getattr(rule, window[0])(*window[1:])
    wanted = statuses.replace("ok", ".")
    got = "".join(
        "F" if client.get(registry.url_for(MANIFEST)).status_code == 500 else "." for _ in wanted
    )
    assert got == wanted
    assert rule.fired == wanted.count("F")


def test_a_window_counts_only_where_the_fault_can_bite(client, registry, image) -> None:
    rule = registry.on(manifest(image)).first(1).truncate_after(5)
    assert client.head(registry.url_for(MANIFEST)).status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(registry.url_for(MANIFEST))
    assert client.get(registry.url_for(MANIFEST)).status_code == 200
    assert rule.fired == 1


def test_counts_can_be_kept_per_digest(client, registry, image) -> None:
    rule = registry.on(blob()).per("digest").first(1).status(503)
    for layer in image.layers:
        assert client.get(blob_url(image, layer)).status_code == 503
        assert client.get(blob_url(image, layer)).status_code == 200
    assert rule.fired == 2
    with pytest.raises(ValueError, match="per 'moon'"):
        rule.per("moon")
    with pytest.raises(ValueError, match="every 0"):
        rule.every(0)


def test_targets_and_conditions(client, registry, image) -> None:
    by_tag = registry.on(manifest(image).by_tag, method="head").status(500)
    ranged = registry.on(blob(image.layers[0]), range=True).status(500)
    of_config = registry.on(config(image)).status(502)
    asked = registry.on(any_request(), header={"x-odd": "1", "x-none": False}).status(418)
    spaced = registry.on(ping(), query={"ns": lambda value: value.startswith("doc")}).status(501)
    denied = registry.on(ping(), authorized=True, nth=1).status(403)
    url = registry.url_for(MANIFEST)
    assert client.head(url).status_code == 500
    assert client.get(url).status_code == 200
    assert client.head(registry.url_for(f"/v2/app/web/manifests/{image.digest}")).status_code == 200
    layer = blob_url(image, image.layers[0])
    assert client.get(layer).status_code == 200
    assert client.get(layer, headers={"Range": "bytes=0-1"}).status_code == 500
    assert client.get(blob_url(image, image.config)).status_code == 502
    assert client.get(url, headers={"X-Odd": "1"}).status_code == 418
    assert client.get(registry.url_for("/v2/?ns=docker.io")).status_code == 501
    assert client.get(registry.url_for("/v2/"), auth=("a", "b")).status_code == 403
    assert client.get(registry.url_for("/v2/"), auth=("a", "b")).status_code == 200
    assert len(registry.requests(ping(), query={"ns": "docker.io"})) == 1
    for rule in (by_tag, ranged, of_config, asked, spaced, denied):
        assert rule.fired == 1
        assert rule.wait_fired(0)
        assert not rule.wait_fired(0, count=2)


def test_a_target_is_meant_on_a_host_that_lacks_it(client, registries, image) -> None:
    mirror = registries.registry("mirror")
    rule = mirror.on(manifest(image).by_tag).status(503)
    assert client.get(mirror.url_for(MANIFEST)).status_code == 503
    assert client.get(mirror.url_for("/v2/app/web/manifests/v2")).status_code == 404
    assert rule.fired == 1


def test_rules_are_required_bait_or_observers(client, registry, image) -> None:
    assert registry.on(ping()).status(500).first(0).required
    assert not registry.on(ping()).bait().required
    seen = registry.on(manifest(image)).observe()
    assert client.get(registry.url_for(MANIFEST)).content == image.manifest
    assert seen.fired == 1
    assert seen.words == f"manifest {image.digest[:19]}, always: observe"


def test_an_honest_world_counts_and_changes_nothing(client, registries, registry, image) -> None:
    registries.honest = True
    rule = registry.on(manifest(image)).status(500)
    assert client.get(registry.url_for(MANIFEST)).status_code == 200
    assert rule.fired == 1


def test_a_fault_from_a_scenario_acts_alike(client, registry, image) -> None:
    registry.on(manifest(image)).add(fault("status", {"code": 502}))
    assert client.get(registry.url_for(MANIFEST)).status_code == 502


def test_what_a_rule_raises_is_shown(client, registry, image) -> None:
    registry.on(manifest(), header={"host": lambda value: 1 / 0}).status(500)
    answer = client.get(registry.url_for(MANIFEST))
    assert (answer.status_code, "ZeroDivisionError" in answer.text) == (500, True)
    with pytest.raises(ZeroDivisionError):
        registry.check()


# redirects


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_leads_to_the_very_same_object(
    client, registries, registry, image, code
) -> None:
    cdn = registries.registry("cdn")
    registry.on(blob(image.layers[0])).redirect(to=cdn, code=code)
    url = blob_url(image, image.layers[0])
    first = client.get(url)
    assert first.status_code == code
    assert first.headers["Location"].startswith(f"{cdn.base_url}/storage/")
    assert "X-Signature=" in first.headers["Location"]
    headers = {"Range": "bytes=5-9"}
    part = client.get(url, headers=headers, follow_redirects=True)
    assert (part.status_code, part.content) == (206, image.layers[0].blob[5:10])
    [exchange] = cdn.requests(redirect_target(image.layers[0]))
    assert exchange.kind == "redirect_target"
    cdn.on(redirect_target()).truncate_after(3)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(url, follow_redirects=True)


def test_redirects_of_a_range_serve_the_whole_object(client, registries, registry, image) -> None:
    registry.on(blob(image.layers[0]), range=True).redirect(to="cdn")
    headers = {"Range": "bytes=5-9"}
    location = client.get(blob_url(image, image.layers[0]), headers=headers).headers["Location"]
    assert client.get(location).content == image.layers[0].blob


def test_redirects_on_the_same_host_and_to_urls(client, registry, image) -> None:
    registry.on(manifest(image)).first(1).redirect(path="/elsewhere?x=1")
    first = client.get(registry.url_for(MANIFEST))
    assert first.headers["Location"] == "/elsewhere?x=1"
    moved = client.get(registry.url_for("/elsewhere?x=1"))
    assert (moved.content, moved.headers["Content-Type"]) == (image.manifest, image.media_type)
    assert moved.headers["Docker-Content-Digest"] == image.digest
    registry.on(manifest(image)).redirect(to="http://127.0.0.1:1/x", code=302)
    assert client.get(registry.url_for(MANIFEST)).headers["Location"] == "http://127.0.0.1:1/x"


# pytest-httpserver's API


def test_expected_requests_come_first(client, registry, image) -> None:
    rule = registry.on(any_request()).status(500)
    registry.expect_request(MANIFEST, query_string={"x": "1"}).respond_with_data(
        "mine", status=203, headers={"X-A": "b"}
    )
    registry.expect_oneshot_request("/once").respond_with_json({"n": 1})
    answer = client.get(registry.url_for(MANIFEST + "?x=1"))
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (203, "mine", "b")
    assert client.get(registry.url_for("/once")).json() == {"n": 1}
    assert client.get(registry.url_for("/once")).status_code == 500
    assert rule.fired == 1
    registry.check()
    assert [e.rules for e in registry.requests()][:2] == [["expect_request"]] * 2


def test_ordered_requests_keep_their_order(client, registry, image) -> None:
    registry.expect_ordered_request("/a").respond_with_data("a")
    registry.expect_ordered_request("/b").respond_with_data("b")
    assert client.get(registry.url_for(MANIFEST)).content == image.manifest
    assert client.get(registry.url_for("/a")).text == "a"
    assert client.get(registry.url_for("/b")).text == "b"


def test_a_handler_that_raises_is_shown(client, registry) -> None:
    def broken(request):
        raise LookupError("mine")

    registry.expect_request("/x").respond_with_handler(broken)
    assert client.get(registry.url_for("/x")).status_code == 500
    with pytest.raises(LookupError, match="mine"):
        registry.check()


def test_the_log_of_pytest_httpserver_is_kept(client, registry, image) -> None:
    client.get(registry.url_for(MANIFEST), headers={"X-A": "b"})
    matcher = registry.create_matcher(MANIFEST, headers={"X-A": "b"})
    registry.assert_request_made(matcher)
    [(request, response)] = registry.log
    assert (request.path, response.status_code) == (MANIFEST, 200)
    assert registry.log[0][0].headers["X-A"] == "b"
    assert len(registry.log[-1:]) == len(registry.log) == 1
    registry.clear_log()
    assert list(registry.log) == []


def test_the_log_of_pytest_httpserver_keeps_long_bodies_cut(client, registry) -> None:
    client.post(registry.url_for("/v2/a/blobs/uploads/"), content=b"x" * 100_000)
    [(request, _)] = registry.log
    assert request.get_data() == b"x" * BODY_LIMIT
    assert request.headers["Content-Length"] == "100000"


def test_answers_that_repeat_follow_what_is_stored(client, registry, image) -> None:
    url = registry.url_for(MANIFEST)
    first = client.get(url)
    assert client.get(url).content == first.content
    other = registry.add(an_image(3), image.repository, image.tag)
    assert client.get(url).headers["docker-content-digest"] == other.digest
    assert client.head(url).headers["docker-content-digest"] == other.digest
    registry.auth = basic()
    assert client.get(url).status_code == 401
    registry.auth = None
    assert client.get(url).status_code == 200
    client.delete(registry.url_for(f"/v2/{image.repository}/manifests/{other.digest}"))
    assert client.get(url).status_code == 404


def test_a_mistake_of_our_own_is_answered_and_told(client, registry, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(registry.storage, "manifest", broken)
    answer = client.get(registry.url_for(MANIFEST))
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (
        500,
        "RecursionError: too deep",
    )
    [exchange] = registry.requests(status=500)
    assert exchange.rules == ["raised RecursionError: too deep"]
    with pytest.raises(RecursionError):
        registry.check()


# life


def test_start_and_stop(registries: Registries) -> None:
    registry = registries.registry()
    with pytest.raises(HTTPServerError):
        registry.start()
    port = registry.port
    registry.stop()
    assert not registry.is_running()
    with pytest.raises(HTTPServerError):
        registry.stop()
    with pytest.raises(ConnectionRefusedError):
        Raw(registry)
    rule = registry.on(ping()).first(1).delay_headers()
    registry.start()
    assert registry.port == port
    with Raw(registry) as raw:
        raw.ask("/v2/")
        assert rule.wait_holding()
    assert registry.journal.wait_quiet()
    with Raw(registry) as raw:
        assert raw.ask("/v2/").answer().status == 200


def test_runaways_are_capped(client, registries, registry, image) -> None:
    registries.request_cap = 3
    answers = [client.get(registry.url_for("/v2/")) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 503, 503]
    assert answers[-1].headers["Connection"] == "close"
    assert registries.runaway
    assert registries.refused_requests == 2
    assert len(registries.journal) == 3


def test_connections_are_capped(registries, registry) -> None:
    registries.connection_cap = 1
    with Raw(registry) as first, Raw(registry) as second:
        assert first.ask("/v2/").answer().status == 200
        assert second.rest().data == b""
    assert registries.runaway


def test_many_at_once(registry, image) -> None:
    failures = []

    def pull() -> None:
        with httpx.Client(trust_env=False) as client:
            for layer in image.layers * 5:
                if client.get(blob_url(image, layer)).content != layer.blob:
                    failures.append(layer)

    threads = [threading.Thread(target=pull) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert registry.journal.wait_quiet()
    assert len(registry.requests(blob())) == 8 * 10
    assert {e.ended for e in registry.requests()} == {"complete"}


def test_fixtures_are_isolated_and_close(tmp_path) -> None:
    (tmp_path / "test_mine.py").write_text(
        """
import socket
import pytest

seen = []


@pytest.mark.parametrize("n", [1, 2])
def test_it(n, registry, registries):
    assert registries.registry() is registry
    assert registry.requests() == []
    seen.append(registry)
    if n == 2:
        assert seen[0] is not registry
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", seen[0].port))
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


# as new


def test_a_wiped_topology_is_as_new_on_the_same_ports(client, registries, image) -> None:
    registry = image.registry
    port = registry.port
    rule = registry.on(manifest(image)).status(500)
    registry.auth = basic("alice")
    registry.tls = registries.certificates.valid()
    registry.expect_request("/x").respond_with_data("y")
    registries.runaway = True

    registries.wipe()

    assert registry.base_url == f"http://127.0.0.1:{port}"
    assert client.get(registry.url_for(MANIFEST)).status_code == 404
    assert client.get(registry.url_for("/x")).status_code == 404
    assert (registry.rules, registry.auth, rule.fired, registries.runaway) == ([], None, 0, False)
    assert [each.number for each in registries.journal] == [1, 2]
    again = registry.add(image.spec)
    assert again.digest == image.digest
    assert registry.on(ping()).id == "origin#1"


def test_a_forgotten_journal_goes_on_counting(client, registry) -> None:
    client.get(registry.url_for("/v2/"))
    registry.journal.clear()
    client.get(registry.url_for("/v2/"))

    (exchange,) = registry.journal
    assert exchange.number == 2
    assert [one.requests for one in registry.journal.connections] == [2]


def test_a_dropped_rule_lets_go_what_it_holds(registry, image) -> None:
    rule = registry.on(manifest(image)).delay_headers()
    with Raw(registry) as raw:
        raw.ask(MANIFEST)
        assert rule.wait_holding()

        registry.drop(rule)

        assert raw.answer().status == 200
    assert registry.rules == []
