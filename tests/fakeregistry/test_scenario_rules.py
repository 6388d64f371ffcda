"""Conditions, barriers and the clock in scenario files and over the control API."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema
import pytest
from rawclient import Raw, Received

from fakeregistry import Registries, Registry, any_request
from fakeregistry.faults.order import AdvanceClock, Release, WaitFor
from fakeregistry.faults.rate import Rate, Statuses
from fakeregistry.scenario import Built, ScenarioError, Source, build, load, read, read_rules
from fakeregistry.scenario.schema import schema
from fakeregistry.serve.cli import main
from fakeregistry.serve.control import Control
from fakeregistry.serve.world import World

MANIFEST = "/v2/app/web/manifests/v1"
EVERYTHING = """
[[image]]

[[rule]]
name = "looked"
on = "manifest"
method = "HEAD"
observe = true

[[rule]]
name = "all"
on = "blob"
range = { start = "1KiB", end = "open" }
accept = { lacks = "text/html" }
authorized = true
authz = { kind = "bearer", subject = "alice" }
with_header = { User-Agent = { matches = "^containerd/" }, X-A = "b", X-C = false }
query = "ns"
with_alpn = "http/1.1"
repo = "app/web"
tag = "v1"
concurrency = 2
bytes_sent_at_least = "1MiB"
time_at_least = "1m"
after_rule = "looked"
chance = 0.5
once = true
per = "client"
wait_for = { rule = "looked", seconds = "2s" }
release = "looked"
advance_clock = "5m"
rate = { requests = 5, window = "10s", key = "user", retry_after = "date" }
statuses = [503, 503, 200]
"""


def built(registries: Registries, text: str, *, honest: bool = False) -> Built:
    return build(read(Source.of_text("s.toml", text)), registries, honest=honest)


def ask(registry: Registry, path: str = MANIFEST, method: str = "GET", **headers: str) -> Received:
    with Raw(registry) as raw:
        return raw.ask(path, method, **headers).answer()


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read(Source.of_text("s.toml", text))
    return [str(problem) for problem in caught.value.problems]


def rule(text: str) -> str:
    return f'[[image]]\n[[rule]]\non = "manifest"\n{text}\n'


def test_every_key_is_read() -> None:
    looked, every = read(Source.of_text("s.toml", EVERYTHING)).rules

    assert (looked.name, looked.target.asking) == ("looked", {"method": "HEAD"})
    assert every.target.asking == {
        "range": {"start": 1024, "end": "open"},
        "accept": {"lacks": "text/html"},
        "authorized": True,
        "authz": {"kind": "bearer", "subject": "alice"},
        "header": {"User-Agent": {"matches": "^containerd/"}, "X-A": "b", "X-C": False},
        "query": {"ns": True},
        "alpn": "http/1.1",
        "repo": "app/web",
        "tag": "v1",
    }
    assert every.around == {
        "concurrency": 2,
        "bytes_sent_at_least": 1 << 20,
        "time_at_least": 60.0,
        "after_rule": "looked",
        "chance": 0.5,
    }
    assert (every.window, every.per) == ("once", "client")
    assert every.faults == (
        WaitFor("looked", 2.0),
        Release("looked"),
        AdvanceClock(300.0),
        Rate(5, 10.0, "user", retry_after="date"),
        Statuses((503, 503, 200)),
    )


def test_an_editor_knows_every_key() -> None:
    jsonschema.validate(tomllib.loads(EVERYTHING), schema())
    properties = schema()["$defs"]["rule"]["properties"]
    for key in (
        *("range", "accept", "authz", "with_header", "query", "with_alpn", "repo", "tag"),
        *("concurrency", "bytes_sent_at_least", "time_at_least", "after_rule", "chance"),
        *("name", "per", "once", "wait_for", "release", "advance_clock", "rate", "statuses"),
    ):
        assert properties[key]["description"], key
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"image": {}, "rule": {"on": "blob", "chance": 2}}, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"image": {}, "rule": {"on": "blob", "range": {"begin": 1}}}, schema())


def test_explain_says_it_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.toml"
    path.write_text(EVERYTHING)

    assert main(["explain", str(path)]) == 0

    said = " ".join(capsys.readouterr().out.split())
    assert "'all': origin: blob with a range from byte 1024 without an end" in said
    assert "not accepting text/html with authorization by bearer as alice" in said
    assert "with header User-Agent that matches '^containerd/' with header X-A = 'b'" in said
    assert "while 2 or more are under way once 1048576 bytes were sent" in said
    assert "from 60 s on the clock once looked has fired by a chance of 0.5" in said
    assert "wait_for(looked, 2.0), release(looked), advance_clock(300.0), rate(5, 10.0" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status = 500\nrange = 1", "s.toml:5: range = 1: it must be true, false, or a table"),
        ("status = 500\nrange = { begin = 1 }", "s.toml:5: range: unknown 'begin': start, end"),
        ('status = 500\nrange = { end = "x" }', "s.toml:5: range: end = 'x': it must be a number"),
        ('status = 500\naccept = { has = "x" }', "s.toml:5: accept: unknown 'has': includes or"),
        ('status = 500\nauthz = "digest"', "s.toml:5: authz 'digest': none, basic or bearer"),
        ("status = 500\nquery = 3", "s.toml:5: query must be a name, or { name = text, true"),
        (
            'status = 500\nwith_header = { A = { matches = "(" } }',
            "s.toml:5: header A: no regular expression: missing )",
        ),
        ('status = 500\nwith_alpn = "h3"', "s.toml:5: alpn 'h3': h2 or http/1.1"),
        ("status = 500\nconcurrency = 0", "s.toml:5: concurrency = 0: it must be at least 1"),
        ("status = 500\nchance = 2", "s.toml:5: chance 2: it must lie between 0 and 1"),
        ("status = 500\nchance = true", "s.toml:5: chance = True: it must be a number from 0"),
        ("status = 500\nbytes_sent_at_least = -1", "s.toml:5: bytes_sent_at_least -1: it must"),
        ('status = 500\ntime_at_least = "x"', "s.toml:5: time_at_least = 'x': it must be a time"),
        ("status = 500\nonce = false", "s.toml:5: once = false: leave it out"),
        ('status = 500\nper = "moon"', "s.toml:5: per = 'moon' is unknown (known: client,"),
        ("status = 500\nconcurency = 2", "s.toml:5: unknown key 'concurency' in [[rule]]: did you"),
        ("status = 500\nafter_rul = 2", "s.toml:5: unknown key 'after_rul' in [[rule]]: did you"),
        ('status = 500\nname = "2nd"', "s.toml:5: name = '2nd': a letter, then letters, digits"),
        ("wait_for = true", "s.toml:4: wait_for: it needs rule"),
        ("advance_clock = -1", "s.toml:4: advance_clock is -1.0: it must be at least 0"),
        ("statuses = []", "s.toml:4: statuses: codes = []: it must be a list such as"),
        ("statuses = 503", "s.toml:4: statuses: codes = 503: it must be a list such as"),
        ("statuses = [42]", "s.toml:4: statuses: status code 42: it must lie between 200 and 999"),
        ("rate = 5", "s.toml:4: rate: it needs window"),
        ('rate = { requests = 5, window = "10s", key = "x" }', "s.toml:4: rate key 'x': it must"),
    ],
)
def test_each_mistake_is_one_line(text: str, expected: str) -> None:
    said = problems(rule(text))
    assert said[0].startswith(expected), said
    assert len(said) == 1, said


@pytest.mark.parametrize("key", ["after_rule", "wait_for", "release"])
def test_a_name_must_be_a_rules_and_may_come_later(key: str) -> None:
    text = rule(f'{key} = "cut"' + ("\nstatus = 500" if key == "after_rule" else ""))
    other = '[[rule]]\non = "blob"\nname = "NAME"\nobserve = true\n'

    read(Source.of_text("s.toml", text + other.replace("NAME", "cut")))
    (said,) = problems(text + other.replace("NAME", "cuts"))
    assert said == f"s.toml:4: {key}: there is no rule named 'cut': did you mean 'cuts'?"


def test_a_name_stands_once() -> None:
    (said,) = problems(
        rule('name = "a"\nobserve = true') + '[[rule]]\non = "blob"\nname = "a"\nobserve = true'
    )
    assert said == "s.toml:8: 'a' is a rule's name twice"


def test_who_asked_is_not_in_the_journal() -> None:
    (said,) = problems(
        '[[image]]\n[pull]\n[expect]\noutcome = "pulled"\n[[expect.requests]]\non = "blob"\n'
        'at_least = 1\nauthz = { subject = "alice" }\n'
    )
    assert said == "s.toml:8: authz: subject is for rules: the journal hides who asked"


def test_connections_have_no_request_yet(registries: Registries) -> None:
    (said,) = problems('[[image]]\n[[rule]]\non = "connection"\nrange = true\nobserve = true')
    assert said == "s.toml:4: range is about requests: on a connection is none yet"

    world = built(
        registries,
        '[[image]]\n[[rule]]\non = "connection"\nname = "second"\nconcurrency = 2\nobserve = true',
    )
    ((_, second),) = world.rules
    with Raw(registries.registry()) as one:
        one.ask(MANIFEST).answer()
        assert second.fired == 0
        with Raw(registries.registry()) as two:
            two.ask(MANIFEST).answer()
    assert second.fired == 1


# on the wire


@pytest.mark.parametrize(
    ("condition", "meant", "not_meant"),
    [
        ('method = "HEAD"', {"method": "HEAD"}, {}),
        ("range = { start = 5 }", {"Range": "bytes=5-"}, {"Range": "bytes=0-"}),
        ('accept = "a/b"', {"Accept": "x/y, a/b"}, {"Accept": "*/*"}),
        ('accept = { lacks = "a/b" }', {"Accept": "x/y"}, {"Accept": "a/b"}),
        ("authorized = true", {"Authorization": "Bearer x"}, {}),
        ('authz = "basic"', {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer x"}),
        ('authz = { subject = "a" }', {"Authorization": "Basic YTpi"}, {}),
        ('with_header = { X = { matches = "^a" } }', {"X": "ab"}, {"X": "ba"}),
        ('query = { ns = "docker.io" }', {"path": MANIFEST + "?ns=docker.io"}, {}),
        ('with_alpn = "http/1.1"', {}, None),
        ('repo = "app/web"', {}, {"path": "/v2/app/db/manifests/v1"}),
        ('tag = "v1"', {}, {"path": "/v2/app/web/manifests/v2"}),
        ("concurrency = 1", {}, None),
        ("bytes_sent_at_least = 0", {}, None),
        ("time_at_least = 0", {}, None),
        ("chance = 1", {}, None),
    ],
)
def test_each_condition(
    registries: Registries,
    condition: str,
    meant: dict[str, str],
    not_meant: dict[str, str] | None,
) -> None:
    built(
        registries,
        f'[[image]]\n[[rule]]\non = "any_request"\n{condition}\n'
        'header = { name = "X-Hit", value = "1" }',
    )
    origin = registries.registry()

    def hit(given: dict[str, str]) -> bool:
        with Raw(origin) as raw:
            return raw.ask(**({"path": MANIFEST} | given)).head().header("x-hit") == "1"

    assert hit(meant)
    assert not_meant is None or not hit(not_meant)


def test_the_token_expires_after_the_first_layer(registries: Registries) -> None:
    world = built(
        registries,
        """
        [[image]]
        layers = 2
        [[rule]]
        on = "blob"
        layer = 0
        advance_clock = "1h"
        [[rule]]
        on = "blob"
        layer = 1
        time_at_least = "1h"
        status = 401
        """,
    )
    origin = registries.registry()
    image = world.images["app/web"]
    first, second = (f"/v2/app/web/blobs/{layer.digest}" for layer in image.layers)

    assert [ask(origin, path).status for path in (second, first, second)] == [200, 200, 401]


def test_a_race_by_barriers_alone(registries: Registries) -> None:
    world = built(
        registries,
        """
        [[image]]
        layers = 2
        [[rule]]
        on = "blob"
        layer = 0
        wait_for = "second-asked"
        [[rule]]
        name = "second-asked"
        on = "blob"
        layer = 1
        observe = true
        """,
    )
    origin = registries.registry()
    first, second = (f"/v2/app/web/blobs/{x.digest}" for x in world.images["app/web"].layers)

    with Raw(origin) as raw:
        raw.ask(first)
        assert world.rules[0][1].wait_holding()
        assert ask(origin, second).status == 200
        assert raw.answer().status == 200


def test_an_honest_world_waits_for_nobody_and_lets_named_rules_fire(
    registries: Registries,
) -> None:
    text = """
    [[image]]
    layers = 2
    [[rule]]
    on = "blob"
    layer = 0
    wait_for = "never"
    [[rule]]
    name = "never"
    on = "config"
    status = 500
    [[rule]]
    lie = false
    on = "manifest"
    after_rule = "never"
    header = { name = "X-Later", value = "1" }
    """
    world = built(registries, text, honest=True)
    origin = registries.registry()
    image = world.images["app/web"]

    assert ask(origin, f"/v2/app/web/blobs/{image.layers[0].digest}").status == 200
    assert ask(origin).header("x-later") is None
    config = json.loads(ask(origin).body)["config"]["digest"]
    assert ask(origin, f"/v2/app/web/blobs/{config}").status == 200
    assert ask(origin).header("x-later") == "1"
    assert [part.lie for part, _ in world.rules] == [False]


# the control API


@pytest.fixture
def control(registries: Registries) -> Iterator[httpx.Client]:
    world = World(registries, read(Source.of_text("world", "[[image]]\nlayers = 2")))
    desk = Control(world, dict, lambda: None)
    headers = {"Authorization": f"Bearer {desk.token}"}
    with httpx.Client(base_url=desk.url, headers=headers, trust_env=False, timeout=20) as client:
        yield client
    desk.close()


def test_rules_are_known_by_name(control: httpx.Client, registries: Registries) -> None:
    put = control.post("/rules", content='{"on": "manifest", "name": "asked", "observe": true}')
    assert put.status_code == 201
    assert put.json()["rules"][0]["name"] == "asked"
    later = '{"on": "manifest", "after_rule": "asked", "method": "HEAD", "status": 404}'
    assert control.post("/rules", content=later).status_code == 201

    origin = registries.registry()
    assert ask(origin).status == 200
    assert control.get("/rules/asked?fired=1").json()["fired"] == 1
    with Raw(origin) as raw:
        assert raw.ask(MANIFEST, "HEAD").head().status == 404

    twice = control.post("/rules", content='{"on": "blob", "name": "asked", "observe": true}')
    assert twice.status_code == 400
    assert "'asked' is a rule's name twice" in twice.text
    wrong = control.post("/rules", content='{"on": "blob", "wait_for": "askd"}')
    assert wrong.json()["problems"] == [
        "rules: wait_for: there is no rule named 'askd': did you mean 'asked'?"
    ]
    assert control.delete("/rules/asked").status_code == 204
    assert control.get("/rules/asked").status_code == 404


def test_a_name_that_a_rule_in_code_has_is_taken(
    control: httpx.Client, registries: Registries
) -> None:
    registries.registry().on(any_request(), name="mine").observe()
    body = json.dumps(
        [
            {"on": "blob", "name": "other", "observe": True},
            {"on": "blob", "name": "mine", "observe": True},
        ]
    )

    assert control.post("/rules", content=body).status_code == 409
    assert control.get("/rules").json() == {"rules": []}
    assert len(registries.registry().rules) == 1


def test_the_clock_is_set_forward(control: httpx.Client, registries: Registries) -> None:
    rate = '{"on": "manifest", "rate": {"requests": 1, "window": "1h"}}'
    control.post("/rules", content=rate)
    origin = registries.registry()
    assert [ask(origin).status for _ in range(2)] == [200, 429]

    before = control.get("/clock").json()["now"]
    assert control.post("/clock", content='{"advance": 1800}').json()["now"] >= before + 1800
    assert control.post("/clock", content='advance = "30m"').status_code == 200
    assert ask(origin).status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"advance": -1}', "clock: advance = -1: it must be a time"),
        ('{"advance": "soon"}', "clock: advance = 'soon': it must be a time"),
        ('{"advanse": 1}', "clock: advance is needed"),
        ('{"advance": 1, "by": 2}', "clock: unknown key 'by' in the file (known: advance)"),
        ("advance = inf", "advance by inf"),
        ("", "the body is empty"),
    ],
)
def test_a_clock_is_not_set_anyhow(control: httpx.Client, body: str, said: str) -> None:
    answer = control.post("/clock", content=body)
    assert answer.status_code == 400
    assert said in " ".join(answer.json()["problems"])
    assert control.put("/clock").status_code == 405


def test_rules_for_a_world_that_stands_name_its_rules() -> None:
    scenario = read(
        Source.of_text("s", '[[image]]\n[[rule]]\nname = "a"\non = "blob"\nobserve = true')
    )
    text = 'on = "blob"\nwait_for = "a"'

    (part,) = read_rules(Source.of_text("r", text), scenario, ["a"])
    assert part.faults == (WaitFor("a"),)
    with pytest.raises(ScenarioError, match="no rule named 'a'"):
        read_rules(Source.of_text("r", text), scenario)


def test_a_file_on_disk_has_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(rule('wait_for = "nobody"'))
    with pytest.raises(
        ScenarioError, match=r"s\.toml:4: wait_for: there is no rule named 'nobody'"
    ):
        load(path)


def test_a_manifest_asked_for_as_a_blob(registries: Registries) -> None:
    text = '[[image]]\n[[rule]]\non = "blob"\ndigest = "manifest"\nstatus = 403\n'
    world = built(registries, text)
    (image,) = world.images.values()
    (layer, *_) = image.layers
    blobs = f"{image.registry.base_url}/v2/{image.repository}/blobs"

    asked = [httpx.get(f"{blobs}/{digest}") for digest in (image.digest, layer.digest)]

    assert [answer.status_code for answer in asked] == [403, 200]
    with pytest.raises(ScenarioError, match="no digest, such as sha256"):
        read(Source.of_text("s.toml", text.replace('"blob"', '"config"')))
