"""Conditions of rules, on the wire: each alone decides whether a rule acts."""

import base64
import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rawclient import Raw

from fakeregistry import (
    Registries,
    Registry,
    Rule,
    a_layer,
    an_image,
    any_request,
    basic,
    bearer,
    blob,
    connection,
    manifest,
    referrers,
    tags,
)
from fakeregistry.messages import Facts
from fakeregistry.rules.asking import Asked, Ranged
from fakeregistry.rules.conditions import When
from fakeregistry.rules.rule import Window
from fakeregistry.rules.surroundings import Alone

MANIFEST = "/v2/app/web/manifests/v1"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def status(registry: Registry, path: str = MANIFEST, method: str = "GET", **headers: str) -> int:
    with Raw(registry) as raw:
        return raw.ask(path, method, **headers).head().status


def teapot(registry: Registry, **conditions: Any) -> Rule:
    return registry.on(any_request(), **conditions).status(418)


@pytest.mark.parametrize(
    ("range_", "meant", "not_meant"),
    [
        (True, ["bytes=0-", "bytes=5-9", "bytes=-4", "bytes=0-0,5-6", "seals=1-2"], [None]),
        (False, [None], ["bytes=0-"]),
        ({"start": 5}, ["bytes=5-", "bytes=5-9"], ["bytes=0-5", "bytes=-5", "bytes=5-6,8-9", None]),
        ({"end": 9}, ["bytes=5-9", "bytes=0-9"], ["bytes=9-", "bytes=-9"]),
        ({"end": "open"}, ["bytes=5-", "bytes=0-"], ["bytes=5-9", "bytes=-5", "bytes=x"]),
        ({"start": 0, "end": 0}, ["bytes=0-0"], ["bytes=0-1", "bytes=0-"]),
        ({"suffix": 5}, ["bytes=-5"], ["bytes=5-", "bytes=0-5", "bytes=-6"]),
        ({"multirange": True}, ["bytes=0-1,4-5"], ["bytes=0-1", "bytes=0-1,", None]),
        ({"multirange": False}, ["bytes=0-1", "bytes=0-1,"], ["bytes=0-1,4-5", None]),
    ],
)
def test_range(
    registry: Registry, range_: Any, meant: list[str | None], not_meant: list[str | None]
) -> None:
    registry.add(an_image())
    teapot(registry, range=range_)

    for value in meant:
        assert status(registry, **({} if value is None else {"Range": value})) == 418, value
    for value in not_meant:
        assert status(registry, **({} if value is None else {"Range": value})) != 418, value


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"start": -1}, "start = -1"),
        ({"end": "close"}, 'a number of bytes or "open"'),
        ({"begin": 1}, "unknown 'begin'"),
        ({"suffix": 1, "start": 1}, "suffix excludes"),
        ({"multirange": True, "start": 1}, "multirange excludes"),
        ({"multirange": 1}, "true or false"),
        ({"start": True}, "a number of bytes"),
    ],
)
def test_a_range_that_makes_no_sense(given_: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        When.of(range=given_)


def test_accept_includes_or_lacks(registry: Registry) -> None:
    registry.add(an_image())
    teapot(registry, accept=INDEX_TYPE.upper())
    registry.on(any_request(), accept={"lacks": "text/plain"}).status(406)

    def asked(*lines: str) -> int:
        text = "".join(f"Accept: {line}\r\n" for line in lines)
        with Raw(registry) as raw:
            raw.send(f"GET {MANIFEST} HTTP/1.1\r\nHost: x\r\n{text}\r\n")
            return raw.head().status

    assert asked(f"text/plain, {INDEX_TYPE};q=0.5") == 418
    assert asked("text/plain", INDEX_TYPE) == 418  # several lines are one list
    assert asked(f"text/plain, {INDEX_TYPE};q=0.0") == 200  # quality 0 is a refusal
    assert asked("text/plain, */*") == 200  # what a type names, and not what it would allow
    assert asked("*/*") == 406
    assert asked() == 406


@pytest.mark.parametrize(
    ("want", "meant", "not_meant"),
    [
        (True, ["x", ""], [None]),
        (False, [None], ["x"]),
        ("a/1", ["a/1"], ["A/1", "a/1 ", None]),
        (re.compile(r"^a/\d+"), ["a/1", "a/22 b"], ["b a/1", None]),
        ({"matches": r"^a/\d+"}, ["a/1"], ["b"]),
        (str.isdigit, ["12"], ["a", None]),
    ],
)
def test_header_and_query(
    registry: Registry, want: Any, meant: list[str | None], not_meant: list[str | None]
) -> None:
    registry.add(an_image())
    rule = teapot(registry, header={"X-Client": want})

    def by_header(value: str | None) -> int:
        extra = {} if value is None else {"X-Client": value}
        return httpx.get(registry.url_for(MANIFEST), headers=extra, trust_env=False).status_code

    def whole(values: list[str | None]) -> list[str | None]:
        # The blanks around a value are not part of it.
        return [value for value in values if value is None or value == value.strip()]

    assert {by_header(value) for value in whole(meant)} == {418}
    assert {by_header(value) for value in whole(not_meant)} == {200}
    registry.drop(rule)

    teapot(registry, query={"ns": want})

    def by_query(value: str | None) -> int:
        extra = {} if value is None else {"ns": value}
        return httpx.get(registry.url_for(MANIFEST), params=extra, trust_env=False).status_code

    assert [by_query(value) for value in meant] == [418] * len(meant)
    assert [by_query(value) for value in not_meant] == [200] * len(not_meant)


def test_a_regular_expression_that_is_none() -> None:
    with pytest.raises(ValueError, match="header User-Agent: no regular expression"):
        When.of(header={"User-Agent": {"matches": "("}})
    with pytest.raises(ValueError, match="header User-Agent: true, false, a text"):
        When.of(header={"User-Agent": {"like": "x"}})


def test_any_line_of_a_header_may_be_meant(registry: Registry) -> None:
    registry.add(an_image())
    teapot(registry, header={"X-Client": "two"})

    with Raw(registry) as raw:
        raw.send(f"GET {MANIFEST} HTTP/1.1\r\nHost: x\r\nX-Client: one\r\nX-Client: two\r\n\r\n")
        assert raw.head().status == 418


def test_authz_by_its_kind(registry: Registry) -> None:
    registry.add(an_image())
    teapot(registry, authz="basic")
    registry.on(any_request(), authz="none").status(405)
    registry.on(any_request(), authz="bearer").status(406)

    pair = base64.b64encode(b"alice:x").decode()
    assert status(registry, Authorization=f"Basic {pair}") == 418
    assert status(registry, Authorization=f"bEARER {pair}") == 406
    assert status(registry) == 405
    assert status(registry, Authorization="Negotiate abc") == 200


def test_authz_by_its_user(registry: Registry) -> None:
    registry.add(an_image())
    registry.auth = basic("alice")
    teapot(registry, authz={"subject": "alice"})

    def asked(user: str, password: str) -> int:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return status(registry, Authorization=f"Basic {pair}")

    assert asked("alice", registry.auth.credentials.password) == 418
    assert asked("alice", "wrong") == 418  # who is named, right or wrong
    assert asked("bob", "x") == 401


def test_a_token_speaks_for_whom_it_was_issued_to(registry: Registry) -> None:
    registry.add(an_image())
    registry.auth = bearer("alice", anonymous=True)
    registry.on(manifest(), authz={"kind": "bearer", "subject": "alice"}).status(418)
    user = registry.auth.credentials

    def token(**options: Any) -> str:
        url = registry.url_for("/token?scope=repository:app/web:pull")
        return str(httpx.get(url, trust_env=False, **options).json()["token"])

    hers = token(auth=(user.username, user.password))
    assert status(registry, Authorization=f"Bearer {hers}") == 418
    assert status(registry, Authorization=f"Bearer {token()}") == 200
    assert status(registry, Authorization=f"Bearer {registry.auth.registry_token}") == 418
    assert status(registry, Authorization="Bearer nonsense") == 401


def test_what_is_asked_for_by_name(registry: Registry) -> None:
    for name in ("app/web", "app/db"):
        registry.add(an_image(), name, "v1")
        registry.add(an_image(), name, "v2")
    teapot(registry, repo="app/db")
    registry.on(any_request(), tag="v2").status(406)

    assert status(registry, "/v2/app/web/manifests/v1") == 200
    assert status(registry, "/v2/app/db/manifests/v1") == 418
    assert status(registry, "/v2/app/web/manifests/v2") == 406


def test_alpn_of_a_connection_without_tls_is_http_1_1(registry: Registry) -> None:
    registry.add(an_image())
    teapot(registry, alpn="h2")
    assert status(registry) == 200
    registry.on(any_request(), alpn="http/1.1").status(406)
    assert status(registry) == 406


def test_lists_have_targets_too(registry: Registry) -> None:
    image = registry.add(an_image())
    other = registry.add(an_image(layers=3), "app/web", "v2")
    registry.on(tags()).status(418)
    registry.on(referrers(image)).status(406)

    assert status(registry, "/v2/app/web/tags/list") == 418
    assert status(registry, f"/v2/app/web/referrers/{image.digest}") == 406
    assert status(registry, f"/v2/app/web/referrers/{other.digest}") == 200


def test_concurrency_counts_what_is_under_way(registry: Registry) -> None:
    image = registry.add(an_image(layers=[a_layer(0, size=4096), a_layer(1, size=4096)]))
    path = f"/v2/app/web/blobs/{image.layers[0].digest}"
    held = registry.on(blob(image.layers[0]), nth=1).stall_after(10)
    registry.on(blob(), concurrency=2).status(429)

    with Raw(registry) as one, Raw(registry) as two, Raw(registry) as three:
        one.ask(path)
        assert held.wait_holding()
        assert two.ask(MANIFEST).answer().status == 200  # not of this target
        assert three.ask(path).answer().status == 429
        held.release()
        assert len(one.answer().body) == len(image.layers[0].blob)
        assert two.ask(path).answer().status == 200


def test_one_after_the_other_is_never_two_at_once(registry: Registry) -> None:
    image = registry.add(an_image(layers=1))
    rule = registry.on(any_request(), concurrency=2).status(503)
    path = f"/v2/app/web/blobs/{image.layers[0].digest}"

    for number in range(100):
        with Raw(registry) as raw:
            assert raw.ask((path, MANIFEST)[number % 2]).answer().status == 200

    assert rule.fired == 0


def test_bytes_sent_are_counted_before_the_client_has_them(registry: Registry) -> None:
    image = registry.add(an_image(layers=[a_layer(0, size=8192, compression="none")]))
    size = len(image.layers[0].blob)
    path = f"/v2/app/web/blobs/{image.layers[0].digest}"
    registry.on(any_request(), bytes_sent_at_least=3 * size).status(503)

    for _ in range(3):
        assert status(registry, path) == 200
    # `status` reads heads alone: wait for what is on its way.
    registry.journal.wait_for(lambda journal: sum(e.bytes_sent for e in journal) >= 3 * size)
    assert status(registry, path) == 503


def test_a_client_who_has_all_bytes_finds_them_counted(registry: Registry) -> None:
    image = registry.add(an_image(layers=[a_layer(0, size=8192, compression="none")]))
    size = len(image.layers[0].blob)
    path = f"/v2/app/web/blobs/{image.layers[0].digest}"
    registry.on(any_request(), bytes_sent_at_least=50 * size).status(503)

    for _ in range(50):
        with Raw(registry) as raw:
            assert raw.ask(path).answer().status == 200
    with Raw(registry) as raw:
        assert raw.ask(path).answer().status == 503


def test_time_at_least_is_on_the_registrys_clock(registries: Registries) -> None:
    registry = registries.registry()
    registry.add(an_image())
    registry.on(manifest(), time_at_least=3600).status(410)

    assert status(registry) == 200
    registries.clock.advance(3600)
    assert status(registry) == 410


def test_after_rule_by_handle_name_and_across_registries(registries: Registries) -> None:
    origin, mirror = registries.registry(), registries.registry("mirror")
    origin.add(an_image())
    mirror.add(an_image())
    first = origin.on(manifest(), method="HEAD", name="looked").observe()
    origin.on(manifest(), after_rule=first, method="GET").status(404)
    mirror.on(manifest(), after_rule="looked").status(418)

    assert (status(origin), status(mirror)) == (200, 200)
    assert status(origin, method="HEAD") == 200
    assert (status(origin), status(mirror)) == (404, 418)

    origin.drop(first)  # what has happened has happened
    assert (status(origin), status(mirror)) == (404, 418)


def test_after_rule_is_about_later_requests(registry: Registry) -> None:
    registry.add(an_image())
    first = registry.on(manifest()).once().status(503)
    registry.on(manifest(), after_rule=first).once().status(500)

    assert [status(registry) for _ in range(3)] == [503, 500, 200]


def test_a_name_that_nobody_has_is_told(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(manifest(), after_rule="tpyo").status(404)

    with Raw(registry) as raw:
        answer = raw.ask(MANIFEST).answer()

    assert answer.status == 500
    assert b"after_rule: no rule is named 'tpyo'" in answer.body
    with pytest.raises(LookupError, match="tpyo"):
        registry.check()


def test_names_are_unique_until_free(registries: Registries) -> None:
    origin, mirror = registries.registry(), registries.registry("mirror")
    rule = origin.on(any_request(), name="cut")
    with pytest.raises(ValueError, match="named 'cut' already"):
        mirror.on(any_request(), name="cut")
    origin.drop(rule)
    assert mirror.on(any_request(), name="cut").name == "cut"
    registries.wipe()
    assert origin.on(any_request(), name="cut").name == "cut"
    with pytest.raises(ValueError, match="a rule's name '1st'"):
        origin.on(any_request(), name="1st")


def test_chance_is_the_same_for_the_same_seed() -> None:
    def lucky(seed: str, chance: float) -> list[int]:
        with Registries(seed) as topology:
            registry = topology.registry()
            registry.add(an_image())
            registry.on(manifest(), chance=chance).status(503)
            with Raw(registry) as raw:
                return [raw.ask(MANIFEST).answer().status for _ in range(60)]

    first = lucky("one", 0.3)

    assert first == lucky("one", 0.3)
    assert first != lucky("two", 0.3)
    assert 6 <= first.count(503) <= 32
    assert lucky("one", 0.0).count(503) == 0
    assert lucky("one", 1.0).count(503) == 60


def test_a_window_counts_the_lucky_alone(registry: Registry) -> None:
    registry.add(an_image())
    rule = registry.on(manifest(), chance=0.5).first(3).status(503)

    with Raw(registry) as raw:
        said = [raw.ask(MANIFEST).answer().status for _ in range(40)]

    assert (said.count(503), rule.fired) == (3, 3)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("rule", [503, 200, 200, 200]), ("connection", [503, 200, 503, 200])],
)
def test_what_a_window_counts_for(registry: Registry, scope: str, expected: list[int]) -> None:
    registry.add(an_image())
    registry.on(manifest()).once().per(scope).status(503)

    said = []
    for _ in range(2):
        with Raw(registry) as raw:
            said += [raw.ask(MANIFEST).answer().status for _ in range(2)]

    assert said == expected


def test_a_window_for_each_client(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(manifest()).once().per("client").status(503)

    assert status(registry, User_Agent="crane") == 503
    assert status(registry, User_Agent="crane") == 200
    assert status(registry, User_Agent="skopeo") == 503
    assert status(registry) == 503


def test_a_client_may_call_itself_anything(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(manifest(), chance=1.0).once().per("client").status(503)
    registry.on(manifest()).rate(1, 60, key="client")

    for name in (b"\xff\xfe", b"\xf0\x9f", b"a" * 4000, b""):
        with Raw(registry) as raw:
            raw.send(b"GET %s HTTP/1.1\r\nHost: x\r\n" % MANIFEST.encode())
            raw.send(b"User-Agent: %s\r\n\r\n" % name)
            assert raw.head().status == 503


def test_a_scope_that_is_none(registry: Registry) -> None:
    with pytest.raises(ValueError, match="rule, digest, method, connection or client"):
        registry.on(any_request()).per("moon")


def test_connections_take_the_conditions_that_no_request_needs(registry: Registry) -> None:
    registry.on(connection(), chance=1.0, time_at_least=0.0, concurrency=1).observe()
    with pytest.raises(ValueError, match="nobody has asked anything yet"):
        registry.on(connection(), method="GET")


def test_a_keyword_that_is_none(registry: Registry) -> None:
    with pytest.raises(TypeError, match="methode"):
        registry.on(any_request(), methode="GET")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        registry.requests(colour="blue")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="while 2 or more are under way"):
        registry.requests(concurrency=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpn": "h3"},
        {"authz": "digest"},
        {"authz": {"user": "x"}},
        {"accept": {"has": "x"}},
        {"accept": {"includes": 1}},
        {"concurrency": 0},
        {"bytes_sent_at_least": -1},
        {"time_at_least": -1},
        {"chance": 1.5},
    ],
)
def test_a_value_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        When.of(**wrong)


def test_the_conditions_in_words() -> None:
    when = When.of(
        method="get",
        range={"start": 5, "end": "open"},
        accept={"includes": "a/b", "lacks": "c/d"},
        authz={"kind": "bearer", "subject": "alice"},
        header={"A": "x", "B": {"matches": "y"}, "C": False},
        query={"ns": True},
        alpn="h2",
        repo="app/web",
        tag="v1",
        concurrency=2,
        bytes_sent_at_least=10,
        time_at_least=1.5,
        after_rule="cut",
        chance=0.25,
    )
    assert when.words == (
        "GET with a range from byte 5 without an end accepting a/b not accepting c/d by bearer"
        " as alice with header A = 'x' with header B that matches 'y' without header C with query"
        " ns over h2 in app/web tagged v1 while 2 or more are under way once 10 bytes were sent"
        " from 1.5 s on the clock once cut has fired by a chance of 0.25"
    )
    assert When.of().words == ""


def test_the_journal_is_asked_with_the_same_words(registry: Registry) -> None:
    registry.add(an_image())
    status(registry, Range="bytes=5-", User_Agent="crane/1", Accept="text/plain")
    status(registry, MANIFEST + "?ns=docker.io", Authorization="Basic YTpi")

    def count(**asking: Any) -> int:
        return len(registry.requests(**asking))

    assert count(range={"start": 5}) == 1
    assert count(accept="text/plain") == 1
    assert count(accept={"lacks": "text/plain"}) == 1
    assert count(header={"User-Agent": {"matches": "^crane"}}) == 1
    assert count(query={"ns": "docker.io"}) == 1
    assert count(authz="basic") == 1
    assert count(alpn="http/1.1") == 2
    assert count(repo="app/web", tag="v1") == 2


# what anybody can send or say

_TEXT = st.text(max_size=30)
_HEADERS = st.lists(
    st.tuples(st.sampled_from(["Range", "Accept", "Authorization", "User-Agent", "X"]), _TEXT),
    max_size=6,
)
_RANGES = st.one_of(
    st.booleans(),
    st.builds(
        dict,
        start=st.none() | st.integers(0, 10**6),
        end=st.none() | st.just("open") | st.integers(0, 10**6),
        multirange=st.none() | st.just(False),
    ),
)


@settings(deadline=None, max_examples=300)
@given(
    st.builds(
        Asked,
        method=_TEXT,
        headers=_HEADERS,
        raw_query=_TEXT,
        facts=st.builds(Facts, repository=st.none() | _TEXT, tag=st.none() | _TEXT),
        h2=st.booleans(),
        peer=_TEXT,
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "range": _RANGES,
            "accept": _TEXT,
            "authorized": st.booleans(),
            "authz": st.sampled_from(["none", "basic", "bearer"]),
            "header": st.dictionaries(st.sampled_from(["Range", "X"]), _TEXT | st.booleans()),
            "query": st.dictionaries(_TEXT, _TEXT | st.booleans(), max_size=3),
            "alpn": st.sampled_from(["h2", "http/1.1"]),
            "repo": _TEXT,
            "tag": _TEXT,
            "concurrency": st.integers(1, 9),
            "bytes_sent_at_least": st.integers(0, 9),
            "time_at_least": st.floats(0, 9),
            "after_rule": _TEXT,
            "chance": st.floats(0, 1),
        },
    ),
)
def test_conditions_never_raise(asked: Asked, conditions: dict[str, Any]) -> None:
    when = When.of(**conditions)
    assert when.accepts(asked) in (True, False)
    assert when.holds(Alone(), any_request()) in (True, False)
    assert isinstance(when.words, str)
    assert isinstance(asked.client, str)


@given(_TEXT | st.text("bytes=,- 0123456789", max_size=40), _RANGES)
def test_no_range_header_raises(text: str, form: Any) -> None:
    if isinstance(form, dict):
        assert Ranged(**form).accepts(text) in (True, False)
        assert Ranged(**form).accepts(f"bytes={text}") in (True, False)


@given(
    st.sampled_from(["always", "once", "first", "nth", "after", "every"]),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
)
def test_windows_never_raise(window: str, n: int, count: int) -> None:
    rule = Rule(any_request(), When.of())
    getattr(rule, window)(*([] if window in ("always", "once") else [n]))
    held = rule.window.holds(count)
    assert held == {
        "always": True,
        "once": count == 1,
        "first": count <= n,
        "nth": count == n,
        "after": count > n,
        "every": count % n == 0,
    }.get(window)
    assert isinstance(Window().words, str)
