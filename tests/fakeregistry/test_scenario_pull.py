"""``[pull]`` and ``[expect]``: what a file may say of a pull, and one line for what it may not."""

from typing import Any

import pytest

from fakeregistry.scenario import (
    ConnectionsPart,
    HostPart,
    PullPart,
    Scenario,
    ScenarioError,
    Source,
    read,
)

WORLD = """
[[registry]]
tls = true
client_certificate = true
auth = "basic"
[[registry]]
name = "mirror"
[[proxy]]
[[image]]
[[rule]]
name = "stall"
on = "blob"
layer = 0
stall_after = 10
"""
EXPECT = '[expect]\noutcome = "pulled"\n'


def scenario(text: str) -> Scenario:
    return read(Source.of_text("s.toml", WORLD + text))


def pull(text: str) -> PullPart:
    (part,) = scenario(f"[pull]\n{text}\n{EXPECT}").pulls
    return part


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario(text)
    return [problem.message for problem in caught.value.problems]


def test_an_empty_table_is_a_pull_by_the_right_means() -> None:
    part = pull("")
    assert part == PullPart(image="app/web", line=part.line)
    assert part.line > 0
    assert part.stopped_at is None


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('auth = "none"', "auth", "none"),
        ('auth = { of = "mirror" }', "auth_of", "mirror"),
        ('trust = "none"', "trust", "none"),
        ('client_certificate = "wrong"', "client_certificate", "wrong"),
        ('decryption_key = "none"', "decryption_key", "none"),
        ('proxy = "proxy"', "proxy", "proxy"),
        ('proxy = { name = "proxy", auth = "none" }', "proxy_auth", "none"),
        ("plain_http = true", "plain_http", True),
        ("plain_http = false", "plain_http", False),
        ('hosts = ["mirror"]', "hosts", (HostPart("mirror"),)),
        ('headers = { X-Meta = "a" }', "headers", {"X-Meta": "a"}),
        ("times = 50", "times", 50),
        ('store = "second"', "store", "second"),
        ('cancel_at = "stall"', "cancel_at", "stall"),
        ('kill_at = "stall"', "kill_at", "stall"),
        ('leave_at = "stall"', "leave_at", "stall"),
        ('without = ["stall"]', "without", ("stall",)),
        ('outcome = "refused"', "outcome", "refused"),
    ],
)
def test_each_key_of_a_pull(line: str, key: str, value: Any) -> None:
    assert getattr(pull(line), key) == value


def test_a_host_says_what_it_is_for() -> None:
    (host,) = pull(
        'hosts = [{ registry = "mirror", server = true, capabilities = ["pull", "resolve"], '
        'path = "/v2/proxy", override_path = true, headers = { A = "b" }, dial_timeout = "1s", '
        'trust = "skip", client_certificate = true, resolves = false }]'
    ).hosts

    assert host == HostPart(
        registry="mirror",
        server=True,
        capabilities=("pull", "resolve"),
        path="/v2/proxy",
        override_path=True,
        headers={"A": "b"},
        dial_timeout=1.0,
        trust="skip",
        client_certificate=True,
        resolves=False,
    )


def test_several_pulls_are_steps_in_order() -> None:
    told = scenario('[[pull]]\nleave_at = "stall"\n[[pull]]\nby_digest = true\n' + EXPECT)

    assert [part.stopped_at for part in told.pulls] == ["stall", None]
    assert told.pull == told.pulls[0]


def test_what_is_expected() -> None:
    expect = scenario(
        """
[pull]
[expect]
outcome = "either"
no_leak = true
fetched_at_most = 1.5
capabilities = ["store"]
[[expect.requests]]
on = "blob"
in_flight_at_most = 3
bytes_at_most = "1KiB"
apart_s = "900ms"
[[expect.connections]]
registry = "mirror"
at_most = 2
"""
    ).expect

    assert expect is not None
    assert (expect.no_leak, expect.content, expect.rootfs, expect.absent) == (True, *[False] * 3)
    assert (expect.fetched_at_most, expect.capabilities) == (1.5, ("store",))
    (requests,) = expect.requests
    assert (requests.in_flight_at_most, requests.bytes_at_most) == (3, 1024)
    assert (requests.apart_s, requests.at_most) == (0.9, None)
    (connections,) = expect.connections
    assert connections == ConnectionsPart("mirror", None, 2, connections.line)


@pytest.mark.parametrize(
    "said",
    ["absent = true", "untouched = ['mirror']", "at_most_s = 3", "fetched_at_most = 2"],
)
def test_either_asserts_something_beside_it(said: str) -> None:
    expect = scenario(f'[pull]\n[expect]\noutcome = "either"\n{said}').expect
    assert expect is not None
    assert expect.asserts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[pull]\nauth = "rihgt"\n' + EXPECT, "auth = 'rihgt' is unknown: did you mean 'right'?"),
        ('[pull]\nauth = { of = "miror" }\n' + EXPECT, "there is no registry 'miror'"),
        ("[pull]\nauth = {}\n" + EXPECT, "[pull.auth] needs 'of', a text"),
        ('[pull]\nproxy = "prox"\n' + EXPECT, "no proxy 'prox': did you mean 'proxy'?"),
        ('[pull]\nproxy = "mirror"\n' + EXPECT, "there is no proxy 'mirror'"),
        ("[pull]\nproxy = {}\n" + EXPECT, "[pull.proxy] needs 'name', a text"),
        ("[pull]\nproxy = 1\n" + EXPECT, "proxy must be the name of a [[proxy]]"),
        ("[pull]\nhosts = [1]\n" + EXPECT, "hosts must be a list of names"),
        ("[pull]\nhosts = [{}]\n" + EXPECT, "[[pull.hosts]] needs 'registry', a text"),
        ('[pull]\nhosts = ["miror"]\n' + EXPECT, "there is no registry 'miror'"),
        (
            '[pull]\nhosts = [{ registry = "mirror", capabilities = ["pul"] }]\n' + EXPECT,
            "capability 'pul' is unknown: did you mean 'pull'?",
        ),
        (
            '[pull]\nhosts = [{ registry = "mirror", pat = "/x" }]\n' + EXPECT,
            "unknown key 'pat' in [[pull.hosts]]: did you mean 'path'?",
        ),
        (
            '[pull]\nhosts = [{ registry = "mirror", path = "x" }]\n' + EXPECT,
            "path = 'x': it begins with '/'",
        ),
        ("[pull]\nheaders = { A = 1 }\n" + EXPECT, "headers must be a table of texts"),
        ("[pull]\ntimes = 0\n" + EXPECT, "times = 0: it must be at least 1"),
        ("[pull]\ntimes = 1000000\n" + EXPECT, "times = 1000000: at most 1000"),
        ('[pull]\nstore = "../x"\n' + EXPECT, "store = '../x': lower-case letters"),
        ('[pull]\ncancel_at = "stal"\n' + EXPECT, "there is no rule with the name 'stal'"),
        ('[pull]\nwithout = ["stal"]\n' + EXPECT, "there is no rule with the name 'stal'"),
        (
            '[pull]\ncancel_at = "stall"\nkill_at = "stall"\n' + EXPECT,
            "cancel_at and kill_at: a step ends in one way",
        ),
        (
            '[pull]\ncancel_at = "stall"\nparallel = 2\n' + EXPECT,
            "cancel_at goes with a single pull",
        ),
        ('[pull]\n[expect]\noutcome = "pulled"\nabsent = true', "absent contradicts"),
        ('[pull]\n[expect]\noutcome = "refused"\nrootfs = true', "rootfs can't be judged"),
        ("[pull]\n" + EXPECT + "fetched_at_most = 0.5", "fetched_at_most = 0.5: it must be"),
        ("[pull]\n" + EXPECT + "[[expect.connections]]", "[[expect.connections]] needs"),
        ("[pull]\n" + EXPECT + '[[expect.requests]]\non = "blob"', "[[expect.requests]] needs"),
        ("[incident]\ntitle = 'x'\ncase = 'Blob'\n", "case = 'Blob': an id such as"),
        (
            "[incident]\ntitle = 'x'\ncase = 'blob/x'\n[pull]\n" + EXPECT,
            "[pull] and [incident] case exclude each other",
        ),
        ('[[rule]]\nname = "stall"\non = "ping"\nobserve = true', "'stall' is a rule's name twice"),
    ],
)
def test_each_mistake_of_a_pull_is_one_line(text: str, message: str) -> None:
    (said,) = problems(text)
    assert message in said


def test_a_file_may_leave_the_pull_to_a_case_in_code() -> None:
    told = scenario("[incident]\ntitle = 'A slow disk'\ncase = 'timeouts/slow-disk'\n")

    assert (told.incident.case, told.pulls, told.expect) == ("timeouts/slow-disk", (), None)
