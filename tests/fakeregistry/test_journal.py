"""The journal and the secrets: what is written, when, and what never is."""

import base64
import json
import threading

from hypothesis import given
from hypothesis import strategies as st
from rawclient import Raw

from fakeregistry import Journal, Registries, Secrets, an_image, blob, manifest
from fakeregistry.messages import Facts, Request


def test_an_exchange_stands_from_its_beginning() -> None:
    journal = Journal()
    connection = journal.connect("origin", "127.0.0.1:1")
    request = Request("GET", "/v2/x?y=1", (("Host", "h:1"), ("Accept", "a"), ("Accept", "b")))
    exchange = journal.begin(request, Facts("blob", "x", None, "sha256:1"), connection)
    assert journal.exchanges() == [exchange]
    assert (exchange.ended, exchange.status, exchange.host) == ("open", None, "h:1")
    assert (exchange.path, exchange.query) == ("/v2/x", "y=1")
    assert exchange.request_headers == [("Host", "h:1"), ("Accept", "a"), ("Accept", "b")]
    journal.head(exchange, 200, (("X", "y"),))
    journal.sent(exchange, 5)
    journal.sent(exchange, 5)
    journal.end(exchange, "complete")
    journal.end(exchange, "fin")
    assert (exchange.bytes_sent, exchange.ended) == (10, "complete")
    times = exchange.times
    assert times.opened <= times.head <= times.first_byte <= times.last_byte <= times.ended


def test_it_can_be_waited_for() -> None:
    journal = Journal()
    assert not journal.wait_for(lambda j: j.connections, timeout=0)
    threading.Thread(target=lambda: journal.connect("origin", "x")).start()
    assert journal.wait_for(lambda j: j.connections)
    assert journal.wait_quiet(0)


def test_it_keeps_the_newest_and_says_how_many_it_forgot() -> None:
    journal = Journal(limit=3)
    connection = journal.connect("origin", "x")
    for number in range(5):
        journal.begin(Request("GET", f"/{number}"), Facts(), connection)
        journal.connect("origin", str(number))
    assert [exchange.target for exchange in journal] == ["/2", "/3", "/4"]
    assert [one.peer for one in journal.connections] == ["2", "3", "4"]
    assert (journal.forgotten, connection.requests) == (2, 5)
    for exchange in journal:
        journal.end(exchange, "complete")
    assert journal.wait_quiet(0)
    journal.clear()
    assert (len(journal), journal.forgotten) == (0, 0)


def test_long_requests_make_it_forget_sooner(monkeypatch) -> None:
    monkeypatch.setattr("fakeregistry.journal.journal._SIZE_LIMIT", 10_000)
    journal = Journal()
    connection = journal.connect("origin", "x")
    for number in range(20):
        request = Request("GET", f"/{number}", (("X", "y" * 999),))
        journal.begin(request, Facts(), connection)
    assert [exchange.target for exchange in journal] == [f"/{n}" for n in range(11, 20)]
    assert journal.forgotten == 11


def test_a_secret_known_later_is_hidden_from_then_on() -> None:
    journal = Journal()
    connection = journal.connect("origin", "x")
    request = Request("GET", "/", (("X", "some thing"),))
    for _ in range(2):
        assert not journal.begin(request, Facts(), connection).secrets
    journal.secrets.register("late", "some thing")
    assert [seen.name for seen in journal.begin(request, Facts(), connection).secrets] == ["late"]


def test_exchanges_are_found_by_meaning(registry) -> None:
    image = registry.add(an_image(2))
    with Raw(registry) as raw:
        raw.ask("/v2/app/web/manifests/v1", "HEAD").head()
        raw.ask(f"/v2/app/web/manifests/{image.digest}").answer()
        raw.ask(f"/v2/app/web/blobs/{image.layers[1].digest}", Range="bytes=0-0").answer()
        raw.ask(f"/v2/app/web/blobs/{image.config.digest}").answer()
    journal = registry.journal
    assert [e.kind for e in journal] == ["tag_manifest", "manifest", "blob", "config"]
    assert [e.method for e in registry.requests(manifest(image))] == ["HEAD", "GET"]
    assert len(registry.requests(manifest(image).by_digest)) == 1
    assert len(registry.requests(blob(image.layers[1]), range=True)) == 1
    assert registry.requests(blob(image.layers[0])) == []
    assert len(registry.requests(status=206)) == 1
    assert len(registry.requests(header={"range": "bytes=0-0"})) == 1
    assert len(journal.exchanges(kind="config", registry="origin")) == 1
    assert journal.exchanges(registry="other") == []


def test_ndjson_and_har(registry) -> None:
    registry.add(an_image())
    registry.on(manifest()).truncate_after(3)
    with Raw(registry) as raw:
        raw.ask("/v2/app/web/manifests/v1?x=%20y").rest()
    assert registry.journal.wait_quiet()
    [line] = registry.journal.to_ndjson().splitlines()
    document = json.loads(line)
    assert document["registry"] == "origin"
    assert document["kind"] == "tag_manifest"
    assert document["connection"] == 1
    assert document["bytes_sent"] == 3
    assert document["ended"] == "fin"
    assert document["rules"][0].endswith("truncate_after(3)")
    [entry] = registry.journal.to_har()["log"]["entries"]
    assert entry["request"]["url"] == registry.url_for("/v2/app/web/manifests/v1?x=%20y")
    assert entry["request"]["queryString"] == [{"name": "x", "value": " y"}]
    assert (entry["response"]["status"], entry["response"]["bodySize"]) == (200, 3)
    assert entry["time"] >= 0
    assert json.dumps(entry)


def test_connections_without_a_request_are_seen(registry) -> None:
    Raw(registry).sock.close()
    assert registry.journal.wait_for(
        lambda j: j.connections and j.connections[0].failure == "closed without a word"
    )


# secrets


def test_secrets_are_the_seeds_and_told_apart() -> None:
    one, same, other = Secrets("1"), Secrets("1"), Secrets("2")
    assert one.new("password of a") == same.new("password of a") != other.new("password of a")
    assert one.new("password of a") != one.new("password of b")
    assert one.value("password of a") == one.new("password of a")
    assert one.value("password of c") is None
    assert one.fingerprint("x") == one.fingerprint("x") != same.fingerprint("x")


def test_secrets_are_hidden_in_every_form() -> None:
    secrets = Secrets()
    value = secrets.new("p")
    odd = secrets.register("odd", "a b/c+d=é")
    mark = f"<secret:p:{secrets.fingerprint(value)}>"
    assert secrets.redact(f"x{value}y") == (f"x{mark}y", ["p"])
    encoded = base64.b64encode(f"user:{value}".encode()).decode()
    assert secrets.redact(f"Basic {encoded}") == (f"Basic {mark}", ["p"])
    unpadded = base64.urlsafe_b64encode(f"user:{value}".encode()).decode().rstrip("=")
    assert secrets.redact(unpadded) == (mark, ["p"])
    for form in (odd, "a%20b%2Fc%2Bd%3D%C3%A9", "a+b%2Fc%2Bd%3D%C3%A9"):
        hidden = f"k=<secret:odd:{secrets.fingerprint(odd)}>"
        assert secrets.redact(f"k={form}") == (hidden, ["odd"])
    assert secrets.redact("nothing here") == ("nothing here", [])


@given(st.binary(max_size=20), st.binary(max_size=20), st.sampled_from(["own", "a?b>c~d"]))
def test_base64_hides_no_secret_wherever_it_begins(before, after, which) -> None:
    secrets = Secrets()
    value = secrets.new("p") if which == "own" else secrets.register("p", which)
    plain = before.hex().encode() + value.encode() + after.hex().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(plain).decode()
        assert secrets.redact(f"x {text}")[1] == ["p"]
        assert secrets.redact(text.rstrip("="))[0] == f"<secret:p:{secrets.fingerprint(value)}>"


def test_unknown_credentials_are_hidden_too() -> None:
    secrets = Secrets()
    text, names = secrets.redact_header("Authorization", "Bearer abc")
    assert text.startswith("Bearer <unknown:")
    assert names == []
    assert secrets.redact_header("Cookie", "abc")[0].startswith("<unknown:")
    assert secrets.redact_header("Accept", "abc")[0] == "abc"
    form, _ = secrets.redact_form("grant_type=password&password=abc&username=u&refresh_token=")
    assert "abc" not in form
    assert "username=u" in form
    assert form.endswith("refresh_token=")


def test_long_texts_are_cut() -> None:
    text, _ = Secrets().redact("x" * 100_000)
    assert len(text) < 10_000
    assert text.endswith("(100000 characters)")


def test_a_secret_in_a_path_is_seen() -> None:
    with Registries() as registries:
        registry = registries.registry()
        value = registries.secrets.new("path secret")
        with Raw(registry) as raw:
            raw.ask(f"/v2/{value}/tags/list").answer()
        [exchange] = registry.requests()
        assert [(s.name, s.where, s.scheme) for s in exchange.secrets] == [
            ("path secret", "path", "http")
        ]
        assert value not in registries.journal.to_ndjson()
