"""The control API, asked over HTTP as any test of any language asks it."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fakeregistry import Registries
from fakeregistry.scenario import Source, read
from fakeregistry.serve.control import Control
from fakeregistry.serve.world import World

STALLED = """
[[image]]
[[rule]]
on = "blob"
layer = 0
stall_after = 10
"""


class Desk:
    """A served world, its control API, and a client of both."""

    def __init__(self, registries: Registries, text: str = "[[image]]") -> None:
        self.registries = registries
        self.world = World(registries, read(Source.of_text("world", text)))
        self.stopped = threading.Event()
        self.control = Control(self.world, lambda: {"served": True}, self.stopped.set)
        self.client = httpx.Client(
            base_url=self.control.url,
            headers={"Authorization": f"Bearer {self.control.token}"},
            trust_env=False,
            timeout=20,
        )

    def ask(self, method: str, path: str, body: str | None = None) -> httpx.Response:
        return self.client.request(method, path, content=body)

    def manifest(self) -> httpx.Response:
        url = self.registries.registry().url_for("/v2/app/web/manifests/v1")
        return httpx.get(url, trust_env=False)

    def close(self) -> None:
        self.client.close()
        self.control.close()


@pytest.fixture
def desk(registries: Registries) -> Iterator[Desk]:
    made = Desk(registries)
    yield made
    made.close()


def test_it_tells_what_is_served(desk: Desk) -> None:
    answer = desk.ask("GET", "/")

    assert (answer.status_code, answer.json()) == (200, {"served": True})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "Basic x", "Bearer ä"])
def test_without_the_token_nothing_is_said_or_done(desk: Desk, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode()}

    answer = httpx.post(f"{desk.control.url}/stop", headers=headers, trust_env=False)

    assert answer.status_code == 401
    assert desk.control.token not in answer.text
    assert not desk.stopped.is_set()


def test_a_page_that_calls_loopback_by_its_own_name_is_refused(desk: Desk) -> None:
    answer = desk.client.get("/", headers={"Host": f"evil.example:{desk.control.url[-5:]}"})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        '[[rule]]\non = "manifest"\nfirst = 1\nstatus = 503\n',
        'on = "manifest"\nfirst = 1\nstatus = 503\n',
        '{"on": "manifest", "first": 1, "status": 503}',
        '{"rule": [{"on": "manifest", "first": 1, "status": 503}]}',
        '[{"on": "manifest", "first": 1, "status": 503}]',
    ],
)
def test_a_rule_is_put_in_the_words_of_scenario_files(desk: Desk, body: str) -> None:
    put = desk.ask("POST", "/rules", body)

    assert put.status_code == 201
    (rule,) = put.json()["rules"]
    assert (rule["number"], rule["registry"], rule["fired"]) == (1, "origin", 0)
    assert rule["words"].endswith("first 1: status(503)")
    assert [desk.manifest().status_code for _ in range(2)] == [503, 200]
    assert desk.ask("GET", "/rules").json()["rules"][0]["fired"] == 1
    assert rule["id"] == desk.registries.journal.exchanges()[0].rules[0].split()[0]


def test_rules_are_taken_back(desk: Desk) -> None:
    desk.ask("POST", "/rules", '[{"on": "manifest", "status": 503}, {"on": "ping", "status": 500}]')

    assert desk.ask("DELETE", "/rules/1").status_code == 204
    assert desk.manifest().status_code == 200
    assert [rule["number"] for rule in desk.ask("GET", "/rules").json()["rules"]] == [2]
    assert desk.ask("DELETE", "/rules").status_code == 204
    assert desk.ask("GET", "/rules").json() == {"rules": []}
    put = desk.ask("POST", "/rules", '{"on": "ping", "status": 500}').json()["rules"]
    assert put[0]["number"] == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "expected"),
    [
        ("POST", "/rules", '{"on": "manifest", "satus": 1}', 400, "rules: unknown key 'satus' in "),
        (
            "POST",
            "/rules",
            '[[rule]]\nstatus = 1\non = "x"',
            400,
            "rules:2: status code 1: it must",
        ),
        ("POST", "/rules", '{"on": "blob"', 400, "rules:1: not TOML: "),
        ("POST", "/rules", "3", 400, "the body must be a JSON object, or TOML"),
        ("POST", "/rules", "  ", 400, "the body is empty"),
        ("POST", "/rules", None, 400, "the body is empty"),
        ("POST", "/rules", '{"on": "blob", "registry": "cnd", "status": 1}', 400, "rules: there"),
        ("POST", "/rules", "[" * 100_000, 400, "rules:1: not TOML"),
        ("POST", "/rules", "a = " + "[" * 100_000, 400, "rules: not TOML: nested too deeply"),
        ("PUT", "/scenario", "", 400, "the body is empty"),
        ("PUT", "/scenario", "a = 1", 400, "scenario: there is no [[image]]"),
        ("GET", "/rules/7", None, 404, "there is no rule 7 (there: none)"),
        ("GET", "/rules/x", None, 404, "there is no rule x"),
        ("GET", "/nothing", None, 404, "no such path: /nothing (known: / /rules"),
        ("POST", "/journal", None, 405, "POST isn't for /journal"),
        ("GET", "/journal?kind=blobs", None, 400, "kind 'blobs' is unknown (known: ping, token"),
        ("GET", "/journal?at_least=x", None, 400, "at_least='x': it must be a whole number"),
        ("GET", "/journal?at_least=1&timeout=61", None, 400, "timeout='61': seconds, at most 60"),
        ("GET", "/journal?at_least=1&timeout=nan", None, 400, "timeout='nan': seconds, at most"),
        ("GET", "/journal?at_least=1&timeout=0.1", None, 504, "waited 0.1 s in vain for 1 such"),
    ],
)
def test_mistakes_are_said_in_lines(
    desk: Desk, method: str, path: str, body: str | None, status: int, expected: str
) -> None:
    answer = desk.ask(method, path, body)

    assert answer.status_code == status
    assert answer.json()["problems"][0].startswith(expected)
    assert desk.ask("GET", "/rules").json() == {"rules": []}


def test_a_body_that_is_no_text_is_refused(desk: Desk) -> None:
    assert desk.client.post("/rules", content=b"\xff\xfe").status_code == 400


def test_a_held_answer_is_seen_and_released(registries: Registries) -> None:
    desk = Desk(registries, STALLED)
    layer = desk.world.built.images["app/web"].layers[0]
    url = registries.registry().url_for(f"/v2/app/web/blobs/{layer.digest}")
    got: list[bytes] = []
    puller = threading.Thread(target=lambda: got.append(httpx.get(url, trust_env=False).content))
    puller.start()

    held = desk.ask("GET", "/rules/1?holding=1").json()
    seen = desk.ask("GET", "/journal?kind=blob&at_least=1").text
    released = desk.ask("POST", "/rules/1/release")
    puller.join(10)

    assert (held["fired"], held["holding"]) == (1, 1)
    assert json.loads(seen)["ended"] == "open"
    assert released.status_code == 200
    assert got == [layer.blob]
    assert json.loads(desk.ask("GET", "/journal?ended=1").text)["ended"] == "complete"
    desk.close()


def test_waiting_for_a_rule_to_fire(desk: Desk) -> None:
    desk.ask("POST", "/rules", '{"on": "manifest", "observe": true}')
    vain = desk.ask("GET", "/rules/1?fired=1&timeout=0")
    pulled = threading.Thread(target=desk.manifest)
    pulled.start()

    answer = desk.ask("GET", "/rules/1?fired=1")
    pulled.join(10)

    assert vain.status_code == 504
    assert answer.json()["fired"] == 1


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_journal_is_read_by_parts(desk: Desk) -> None:
    desk.manifest()
    httpx.get(desk.registries.registry("cdn").url_for("/v2/"), trust_env=False)

    assert [one["kind"] for one in lines(desk.ask("GET", "/journal"))] == ["tag_manifest", "ping"]
    assert [one["kind"] for one in lines(desk.ask("GET", "/journal?registry=cdn"))] == ["ping"]
    assert [one["number"] for one in lines(desk.ask("GET", "/journal?since=1"))] == [2]
    assert len(lines(desk.ask("GET", "/journal?status=200&kind=ping"))) == 1
    assert desk.ask("GET", "/journal?format=har").json()["log"]["version"] == "1.2"
    assert desk.ask("DELETE", "/journal").status_code == 204
    assert lines(desk.ask("GET", "/journal")) == []


def test_its_own_requests_are_in_no_journal(desk: Desk) -> None:
    desk.ask("GET", "/")

    assert len(desk.registries.journal) == len(desk.control.journal) == 0


def test_reset_begins_anew_on_the_same_ports(registries: Registries) -> None:
    desk = Desk(registries, '[[image]]\n[[rule]]\non = "manifest"\nfirst = 1\nstatus = 503')
    port = registries.registry().port
    digest = desk.world.built.images["app/web"].digest
    upload = registries.registry().url_for("/v2/pushed/blobs/uploads/")
    httpx.post(upload, trust_env=False)
    desk.ask("POST", "/rules", '{"on": "manifest", "status": 500}')
    assert [desk.manifest().status_code for _ in range(2)] == [500, 500]

    assert desk.ask("POST", "/reset").status_code == 200

    assert lines(desk.ask("GET", "/journal")) == []
    assert registries.registry().port == port
    assert desk.world.built.images["app/web"].digest == digest
    assert [desk.manifest().status_code for _ in range(2)] == [503, 200]
    desk.close()


def test_another_scenario_takes_the_place_of_the_first(desk: Desk) -> None:
    answer = desk.ask("PUT", "/scenario", '[[image]]\nname = "b/c"\nlayers = 1')

    assert answer.status_code == 200
    assert desk.manifest().status_code == 404
    url = desk.registries.registry().url_for("/v2/b/c/manifests/v1")
    assert httpx.get(url, trust_env=False).status_code == 200
    rule = '{"on": "blob", "image": "b/c", "layer": 0, "status": 500}'
    assert desk.ask("POST", "/rules", rule).status_code == 201


def test_a_bad_scenario_leaves_the_world_as_it_is(desk: Desk) -> None:
    assert desk.ask("PUT", "/scenario", "[[image]]\nx = 1").status_code == 400
    assert desk.manifest().status_code == 200


def test_stop_is_answered_first(desk: Desk) -> None:
    assert desk.ask("POST", "/stop").status_code == 202
    assert desk.stopped.wait(10)


def test_closing_does_not_wait_for_those_who_wait(desk: Desk) -> None:
    with socket.create_connection(("127.0.0.1", int(desk.control.url.rpartition(":")[2]))) as sock:
        sock.sendall(
            b"GET /journal?at_least=1&timeout=60 HTTP/1.1\r\nHost: localhost\r\n"
            + f"Authorization: Bearer {desk.control.token}\r\n\r\n".encode()
        )
        closing = threading.Thread(target=desk.control.close)
        closing.start()
        closing.join(3)
        assert not closing.is_alive()
    desk.control = Control(desk.world, dict, desk.stopped.set)
