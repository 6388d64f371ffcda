"""The journal as an HTTP archive, by http://www.softwareishard.com/blog/har-12-spec/ (HAR 1.2).

The schema says the tables of that page: which fields there are, which must be, and of what type. A
field of somebody's own begins with an underscore.
"""

import json
import socket
import ssl
from typing import Any

import httpx
import jsonschema
import pytest

from fakeregistry import Registries, an_image, basic, blob, manifest
from fakeregistry.journal.har import to_har

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": -1}
SPENT = {"type": "number", "minimum": 0}
MAYBE = {"type": "number", "minimum": -1}


def table(must: dict[str, Any], may: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**must, **(may or {}), "comment": TEXT},
        "required": sorted(must),
        "patternProperties": {"^_": {}},
        "additionalProperties": False,
    }


def many(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


PAIR = table({"name": TEXT, "value": TEXT})
PARAM = table({"name": TEXT}, {"value": TEXT, "fileName": TEXT, "contentType": TEXT})
COOKIE = table(
    {"name": TEXT, "value": TEXT},
    {"path": TEXT, "domain": TEXT, "expires": TEXT, "httpOnly": {}, "secure": {}},
)
MESSAGE = {
    "httpVersion": {"type": "string", "pattern": r"^HTTP/(1\.0|1\.1|2)$"},
    "cookies": many(COOKIE),
    "headers": many(PAIR),
    "headersSize": COUNT,
    "bodySize": COUNT,
}
REQUEST = table(
    {
        **MESSAGE,
        "method": TEXT,
        "url": {"type": "string", "pattern": r"^https?://[^/]+/"},
        "queryString": many(PAIR),
    },
    {"postData": table({"mimeType": TEXT}, {"params": many(PARAM), "text": TEXT})},
)
CONTENT = table(
    {"size": COUNT, "mimeType": TEXT}, {"compression": COUNT, "text": TEXT, "encoding": TEXT}
)
RESPONSE = table(
    {
        **MESSAGE,
        "status": {"type": "integer", "minimum": 0},
        "statusText": TEXT,
        "content": CONTENT,
        "redirectURL": TEXT,
    }
)
TIMINGS = table(
    {"send": SPENT, "wait": SPENT, "receive": SPENT},
    {"blocked": MAYBE, "dns": MAYBE, "connect": MAYBE, "ssl": MAYBE},
)
ENTRY = table(
    {
        "startedDateTime": {
            "type": "string",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)$",
        },
        "time": SPENT,
        "request": REQUEST,
        "response": RESPONSE,
        "cache": table({}, {"beforeRequest": {}, "afterRequest": {}}),
        "timings": TIMINGS,
    },
    {"pageref": TEXT, "serverIPAddress": TEXT, "connection": TEXT},
)
LOG = table(
    {
        "version": {"const": "1.2"},
        "creator": table({"name": TEXT, "version": TEXT}),
        "entries": many(ENTRY),
    },
    {"browser": {}, "pages": many({})},
)
ARCHIVE = table({"log": LOG})
VALIDATOR = jsonschema.Draft202012Validator(ARCHIVE)


def archive(registries: Registries) -> list[dict[str, Any]]:
    """The entries of the archive, once it is sound and came through JSON."""
    document = json.loads(json.dumps(to_har(registries.journal)))
    VALIDATOR.validate(document)
    entries: list[dict[str, Any]] = document["log"]["entries"]
    for entry in entries:
        assert entry["time"] == pytest.approx(sum(entry["timings"].values()), abs=0.002)
    return entries


def test_the_schema_is_sound_and_says_no() -> None:
    VALIDATOR.check_schema(ARCHIVE)
    assert not VALIDATOR.is_valid({"log": {"version": "1.2", "entries": []}})
    assert VALIDATOR.is_valid(
        {"log": {"version": "1.2", "creator": {"name": "n", "version": "1"}, "entries": []}}
    )


def test_an_empty_journal_is_an_empty_archive() -> None:
    with Registries() as registries:
        assert archive(registries) == []


def test_every_kind_of_exchange_is_in_the_archive() -> None:
    with Registries() as registries:
        origin, cdn = registries.registry(), registries.registry("cdn")
        origin.auth = basic("alice")
        given = origin.auth.credentials
        image = origin.add(an_image(layers=2))
        origin.on(blob(image.layers[0])).redirect(to=cdn)
        origin.on(blob(image.layers[1])).reset_before_headers()
        with httpx.Client(auth=(given.username, given.password), follow_redirects=True) as client:
            client.get(f"{origin.base_url}/v2/app/web/blobs/{image.layers[0].digest}")
            with pytest.raises(httpx.TransportError):
                client.get(f"{origin.base_url}/v2/app/web/blobs/{image.layers[1].digest}")
            client.post(f"{origin.base_url}/v2/app/web/blobs/uploads/?a=b&c=", data={"x": "y"})
        registries.journal.wait_quiet()
        redirected, followed, cut, posted = archive(registries)

    assert redirected["response"]["redirectURL"].startswith(cdn.base_url)
    assert followed["comment"] == "cdn"
    assert (cut["response"]["status"], cut["_ended"]) == (0, "rst")
    assert cut["timings"]["receive"] == 0
    assert posted["request"]["queryString"] == [
        {"name": "a", "value": "b"},
        {"name": "c", "value": ""},
    ]
    assert posted["request"]["postData"]["text"] == "x=y"


def test_what_is_under_way_lasts_until_now() -> None:
    with Registries() as registries:
        origin = registries.registry()
        image = origin.add(an_image())
        rule = origin.on(manifest(image)).delay_headers()
        with socket.create_connection(("127.0.0.1", origin.port)) as sock:
            sock.sendall(b"GET /v2/app/web/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert rule.wait_holding()
            (entry,) = archive(registries)

    assert (entry["response"]["status"], entry["_ended"]) == (0, "open")
    assert entry["timings"]["wait"] > 0


@pytest.mark.parametrize("target", ["*", "/v2/", "http://elsewhere.test/v2/"])
def test_urls_are_absolute(target: str) -> None:
    with Registries() as registries:
        origin = registries.registry()
        with socket.create_connection(("127.0.0.1", origin.port)) as sock:
            sock.sendall(f"OPTIONS {target} HTTP/1.1\r\nHost: x.test\r\n\r\n".encode())
            sock.recv(1 << 16)
        registries.journal.wait_quiet()

        assert len(archive(registries)) == 1


def test_tls_shows_in_the_urls() -> None:
    with Registries() as registries:
        origin = registries.registry()
        origin.tls = registries.certificates.valid()
        context: ssl.SSLContext = registries.certificates.client_context()
        httpx.get(f"{origin.base_url}/v2/", verify=context)
        registries.journal.wait_quiet()
        (entry,) = archive(registries)

    assert entry["request"]["url"] == f"{origin.base_url}/v2/"
