"""Scenario files: what they say is what is read, and each mistake is one line."""

from pathlib import Path

import pytest

from fakeregistry import faults as f
from fakeregistry.scenario import (
    HostPart,
    ScenarioError,
    Source,
    find,
    load,
    read,
    read_rules,
    shipped,
)
from fakeregistry.scenario.reader import seconds_of, size_of

IMAGE = "[[image]]\n"
RULE = IMAGE + '[[rule]]\non = "blob"\nlayer = 0\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "s.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    """The problems of a file, without its folder."""
    with pytest.raises(ScenarioError) as caught:
        load(written(folder, text))
    lines = str(caught.value).splitlines()
    return [line.removeprefix(f"{folder}/") for line in lines]


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_scenario_is_sound_and_tells_its_story(name: str) -> None:
    scenario = load(find(name))

    assert find(name).read_text().startswith("# ")
    assert scenario.name == name
    incident = scenario.incident
    assert all((incident.id, incident.title, incident.did, incident.wrong, incident.right))
    assert incident.links
    if not incident.case:  # what a table can't say is a case in code
        assert scenario.pulls
        assert scenario.expect is not None
        assert scenario.expect.requirements


def test_the_library_has_at_least_150_incidents() -> None:
    assert len({load(path).incident.id for path in shipped().values()}) >= 150


def test_a_small_file_has_the_usual_world(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, IMAGE))

    (registry,) = scenario.registries
    (image,) = scenario.images
    assert (registry.name, registry.tls, registry.auth) == ("origin", None, None)
    assert (image.id, image.name, image.tag, len(image.layers)) == ("app/web", "app/web", "v1", 2)
    assert (scenario.rules, scenario.pull, scenario.expect) == ((), None, None)


def test_a_large_file_is_read_completely(tmp_path: Path) -> None:
    scenario = load(
        written(
            tmp_path,
            """
[[registry]]
name = "origin"
tls = "expired"
client_certificate = true
auth = { scheme = "bearer", user = "alice", realm = "auth" }
[[registry]]
name = "auth"
tls = true
auth = "basic"
[[image]]
id = "web"
name = "team/web"
tag = "2"
registry = ["origin", "auth"]
platforms = ["linux/amd64", "linux/arm64/v8"]
form = "docker"
[[image.layer]]
size = "1KiB"
compression = "zstd"
members = 3
lie = { size = -1, digest = "sha256:x", diff_id = "sha256:y", cut = -4, trailing = "z" }
[[image.layer]]
same_as = 0
[[rule]]
registry = "auth"
on = "manifest"
by = "digest"
platform = "linux/arm64/v8"
method = "GET"
authorized = false
with_header = { Accept = true }
every = 2
per = "digest"
bait = true
status = 503
header = { name = "X-A", value = "b" }
[pull]
image = "web"
platform = "linux/amd64"
by_digest = true
auth = "wrong"
trust = "skip"
hosts = ["auth"]
timeout = "1m"
progress_timeout = 2.5
max_concurrent_downloads = 3
parallel = 2
[expect]
outcome = "either"
untouched = ["auth"]
at_least_s = "250ms"
at_most_s = 10
requirements = ["X-01"]
[[expect.requests]]
on = "token"
registry = "auth"
at_least = 1
at_most = 2
""",
        )
    )

    origin, auth = scenario.registries
    assert (origin.tls, origin.client_certificate) == ("expired", True)
    assert origin.auth is not None
    assert (origin.auth.scheme, origin.auth.user, origin.auth.realm) == ("bearer", "alice", "auth")
    assert (auth.tls, auth.auth and auth.auth.scheme) == ("valid", "basic")
    image = scenario.image("web")
    assert (image.registry, image.form) == (("origin", "auth"), "docker")
    assert (image.layers[0].size, image.layers[0].members, image.layers[1].same_as) == (1024, 3, 0)
    assert image.layers[0].lie["cut"] == -4
    (rule,) = scenario.rules
    assert rule.faults == (f.Status(503), f.Header("X-A", "b"))
    assert (rule.window, rule.count, rule.per, rule.bait) == ("every", 2, "digest", True)
    assert rule.target.asking["header"] == {"Accept": True}
    assert (rule.target.by, rule.target.asking["authorized"]) == ("digest", False)
    pull, expect = scenario.pull, scenario.expect
    assert pull is not None
    assert expect is not None
    assert (pull.timeout, pull.progress_timeout, pull.parallel) == (60.0, 2.5, 2)
    assert (pull.auth, pull.trust, pull.by_digest) == ("wrong", "skip", True)
    assert pull.hosts == (HostPart("auth"),)
    assert (expect.outcome, expect.at_least_s, expect.untouched) == ("either", 0.25, ("auth",))
    assert (expect.requests[0].at_least, expect.requests[0].at_most) == (1, 2)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stall_after = 10", f.StallAfter(10)),
        ('stall_after = "64KiB"', f.StallAfter(65536)),
        ('stall_after = { n = 1, seconds = "2s" }', f.StallAfter(1, 2.0)),
        ('stall_after = { n = 1, seconds = "forever" }', f.StallAfter(1, None)),
        ('delay_headers = "forever"', f.DelayHeaders(None)),
        ("delay_headers = 3", f.DelayHeaders(3.0)),
        ('drip = { size = 2, every = "20s" }', f.Drip(2, 20.0)),
        ("drip = true", f.Drip()),
        ("digest_header = false", f.DigestHeader(None)),
        ('digest_header = "wrong"', f.DigestHeader("wrong")),
        ("range_ignored = true", f.RangeIgnored()),
        ("range_status = 416", f.RangeStatus(416)),
        ("range_wrong_offset = { delta = -1, labelled = false }", f.RangeWrongOffset(-1, False)),
        ("too_many_requests = 3600", f.TooManyRequests(3600)),
        ('too_many_requests = "880.092µs"', f.TooManyRequests("880.092µs")),
        ('swap = "other"', f.Swap(b"other")),
        (
            'redirect = { to = "http://127.0.0.1:1/x", code = 302 }',
            f.Redirect("http://127.0.0.1:1/x", 302),
        ),
        ('error_body = { form = "html" }', f.ErrorBody(form="html")),
        ("flip_byte = -1", f.FlipByte(-1)),
    ],
)
def test_faults_are_keys(tmp_path: Path, line: str, expected: f.Fault) -> None:
    (rule,) = load(written(tmp_path, RULE + line)).rules

    assert rule.faults == (expected,)


def test_faults_keep_their_order(tmp_path: Path) -> None:
    (rule,) = load(written(tmp_path, RULE + 'chunked = true\ntruncate_after = "1KiB"')).rules

    assert rule.faults == (f.Chunked(), f.TruncateAfter(1024))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = ", "s.toml:1: not TOML: Invalid value"),
        ("", "s.toml: there is no [[image]]: a scenario needs at least one"),
        (
            IMAGE + "layes = 2",
            "s.toml:2: unknown key 'layes' in [[image]]: did you mean 'layers'?",
        ),
        (IMAGE + "layers = true", "s.toml:2: layers = True: it must be a whole number"),
        (IMAGE + "layers = 200000", "s.toml:2: layers = 200000: at most 1000"),
        (
            IMAGE + 'size = "big"',
            "s.toml:2: size = 'big': it must be a size such as 4096 or \"64KiB\"",
        ),
        (IMAGE + 'registry = "mirrow"', "s.toml:2: there is no registry 'mirrow' (known: origin)"),
        (IMAGE + IMAGE, "s.toml: 'app/web' is an image's id twice"),
        (IMAGE + "[rules]\n", "s.toml:2: unknown key 'rules' in the file: did you mean 'rule'?"),
        (IMAGE + 'platforms = ["amd64"]', "s.toml:2: 'amd64' isn't os/architecture[/variant]"),
        (
            RULE + "truncate_afer = 1",
            "s.toml:5: unknown key 'truncate_afer' in [[rule]]: did you mean 'truncate_after'?",
        ),
        (RULE, "s.toml:2: the rule has no fault (or say observe = true)"),
        (
            RULE + "observe = true\nchunked = true",
            "s.toml:5: observe means no fault: leave one of them out",
        ),
        (
            RULE + "first = 1\nnth = 2\nchunked = true",
            "s.toml:6: first and nth: a rule has one window",
        ),
        (RULE + "chunked = 5", "s.toml:5: chunked = 5: it takes no value; say chunked = true"),
        (RULE + "stall_after = true", "s.toml:5: stall_after: it needs n"),
        (RULE + "stall_after = -1", "s.toml:5: stall_after is -1: it must be at least 0"),
        (
            RULE + "stall_after = { m = 1 }",
            "s.toml:5: unknown argument 'm' of stall_after (known: inside_record, n, seconds)",
        ),
        (
            RULE + 'status = "x"',
            "s.toml:5: status: code = 'x': it must be a number or a size such as \"64KiB\"",
        ),
        (
            RULE + 'redirect = { to = "cdn" }',
            "s.toml:5: there is no registry 'cdn' (known: origin)",
        ),
        (
            IMAGE + '[[rule]]\non = "blob"\nlayer = 2\nchunked = true',
            "s.toml:4: layer = 2: app/web has 2 layers, counted from 0",
        ),
        (
            IMAGE + '[[rule]]\non = "blobs"\nchunked = true',
            "s.toml:3: on = 'blobs' is unknown: did you mean 'blob'?",
        ),
        (
            IMAGE + '[[rule]]\non = "blob"\nimage = "app/wep"\nchunked = true',
            "s.toml:4: there is no image 'app/wep': did you mean 'app/web'?",
        ),
        (
            IMAGE + "[[image.layer]]\nsame_as = 0",
            "s.toml:3: same_as = 0: only an earlier layer can be repeated",
        ),
        (
            IMAGE + "[[image.layer]]\nlie = { siez = 0 }",
            "s.toml:3: unknown key 'siez' in [image.layer.lie]: did you mean 'size'?",
        ),
        (
            '[[registry]]\ntls = "expird"\n' + IMAGE,
            "s.toml:2: tls = 'expird' is unknown: did you mean 'expired'?",
        ),
        (
            '[[registry]]\nauth = "digest"\n' + IMAGE,
            "s.toml:2: scheme = 'digest' is unknown (known: basic, bearer)",
        ),
        (
            '[[registry]]\nauth = { scheme = "bearer", realm = "x" }\n' + IMAGE,
            "s.toml:2: there is no registry 'x' (known: origin)",
        ),
        (
            "[[registry]]\nclient_certificate = true\n" + IMAGE,
            "s.toml:2: client_certificate needs tls as well",
        ),
        (IMAGE + "[pull]\n", "s.toml:2: [pull] needs [expect] beside it"),
        (
            IMAGE + '[pull]\n[expect]\noutcome = "either"',
            (
                "s.toml:4: outcome = 'either' asserts nothing alone: "
                "add requests, connections, untouched, content, no_leak or a bound"
            ),
        ),
        (
            IMAGE + '[pull]\n[expect]\noutcome = "refused"\ncontent = true',
            "s.toml:5: content can't be judged where the pull must be refused",
        ),
        (
            IMAGE + '[pull]\n[expect]\noutcome = "pulled"\n[[expect.requests]]\non = "token"',
            "s.toml:5: [[expect.requests]] needs at_least, at_most, or both",
        ),
        (
            IMAGE + '[pull]\nplatform = "linux/s390x"\n[expect]\noutcome = "pulled"',
            "s.toml:3: app/web has no platform 'linux/s390x' (known: linux/amd64)",
        ),
        ('[incident]\nid = "A"\n' + IMAGE, "s.toml:1: [incident] needs 'title', a text"),
        ('[incident]\ntitle = "a"\nlinks = ["x"]\n' + IMAGE, "s.toml:3: 'x' is no URL"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text)[0] == expected


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = IMAGE + "a = 1\n" + IMAGE + 'id = "b"\nc = """\n[[x]]\n"""\nd = 1\n'

    assert [line.split(":")[1] for line in problems(tmp_path, text)] == ["2", "5", "8"]


def test_what_cannot_be_read_is_one_line_too(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="can't read it: No such file"):
        load(tmp_path / "no.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="can't read it: it isn't UTF-8 text"):
        load(tmp_path / "b.toml")


def test_scenarios_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    path = written(tmp_path, IMAGE)

    assert find(str(path)) == path
    assert find("blob-stalls").name == "blob-stalls.toml"
    with pytest.raises(ScenarioError, match="did you mean 'blob-stalls'"):
        find("blob-stall")
    with pytest.raises(ScenarioError, match="there is no such file"):
        find("x/blob-stalls.toml")


@pytest.mark.parametrize(
    ("text", "size"),
    [("12", 12), ("64KiB", 65536), ("2 MB", 2_000_000), ("-1", -1), ("x", None), ("1PB", None)],
)
def test_sizes(text: str, size: int | None) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("10s", 10.0), ("1.5m", 90.0), ("10", None), ("s", None)]
)
def test_times(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


DIGEST = "sha256:" + "a" * 64


def test_a_scenario_may_come_from_anywhere() -> None:
    scenario = read(Source("request", {"image": [{"layers": 1}]}))

    assert (scenario.name, scenario.path.name) == ("request", "")
    assert len(scenario.images[0].layers) == 1


@pytest.mark.parametrize(
    "source",
    [
        Source("r", {"on": "blob", "digest": DIGEST, "flip_byte": 3}),
        Source("r", {"rule": [{"on": "blob", "digest": DIGEST, "flip_byte": 3}]}),
        Source.of_text("r", f'on = "blob"\ndigest = "{DIGEST}"\nflip_byte = 3'),
        Source.of_text("r", f'[[rule]]\non = "blob"\ndigest = "{DIGEST}"\nflip_byte = 3'),
    ],
)
def test_rules_alone_are_read_for_a_world_that_stands(source: Source) -> None:
    (rule,) = read_rules(source, read(Source("world", {"image": [{}]})))

    assert (rule.target.digest, rule.target.image) == (DIGEST, None)
    assert rule.faults == (f.FlipByte(3),)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"on": "ping", "digest": DIGEST}, "digest goes with on = blob, redirect_target, foreign_"),
        ({"on": "blob", "digest": DIGEST, "layer": 0}, "digest and layer exclude each other"),
        ({"on": "blob", "digest": "sha256"}, "'sha256' is no digest"),
    ],
)
def test_a_digest_names_one_object(rule: dict[str, object], expected: str) -> None:
    source = Source("r", {**rule, "status": 500})

    with pytest.raises(ScenarioError, match=r"^r: " + expected):
        read_rules(source, read(Source("world", {"image": [{}]})))
