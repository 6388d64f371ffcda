"""Incidents with steps: pulls that are cancelled, killed or left, and what may be expected of them.

The reference plays them: what it does right passes, and an expectation that is wrong fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.case import CaseError
from conformance.expected import most_in_flight
from conformance.incident import case_of, load_cases
from conformance.judge import Judge, Judged
from conformance.plan import Plan, all_cases, judge_for
from conformance.results import Breach
from fakeregistry.scenario import Source, read, shipped


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    # Short: a socket's path below it may have 107 bytes at the most.
    monkeypatch.delenv("TMPDIR", raising=False)
    plan = Plan(puller="reference", seed="s", cases=[], out=str(tmp_path))
    made, _ = judge_for(plan, "i")
    return made


def judged(judge: Judge, text: str) -> Judged:
    return judge.judge(case_of(read(Source.of_text("odd.toml", text))))


IMAGE = '[[image]]\nlayers = 2\nsize = "64KiB"\n'
STALL = '[[rule]]\nname = "stall"\non = "blob"\nlayer = 1\nmethod = "GET"\nstall_after = 20_000\n'
PULLED = '[expect]\noutcome = "pulled"\nat_most_s = 15\n'


def test_what_is_cancelled_once_is_pulled_the_next_time(judge: Judge) -> None:
    steps = '[[pull]]\ncancel_at = "stall"\n[[pull]]\nwithout = ["stall"]\n'
    done = judged(judge, IMAGE + STALL + steps + PULLED)

    assert (done.record.verdict, done.record.kind) == ("pass", ""), done.record
    assert [pull["outcome"] for pull in done.record.pulls] == ["failed", "pulled"]
    assert done.honest is not None
    assert [pulled.succeeded for pulled in done.honest.pulls] == [True]
    assert done.honest.failed == "no pull came to where 'stall' holds"


def test_what_is_killed_once_is_pulled_the_next_time(judge: Judge) -> None:
    steps = '[[pull]]\nkill_at = "stall"\n[[pull]]\nwithout = ["stall"]\n'
    done = judged(judge, IMAGE + STALL + steps + PULLED)

    assert (done.record.verdict, done.record.kind) == ("pass", ""), done.record
    assert len(done.record.pulls) == 2


def test_a_pull_goes_on_beside_one_that_is_left_under_way(judge: Judge) -> None:
    steps = (
        '[[pull]]\nleave_at = "stall"\n'
        '[[pull]]\nby_digest = true\nstore = "other"\nwithout = ["stall"]\n'
    )
    done = judged(judge, IMAGE + STALL + steps + PULLED)

    assert (done.record.verdict, done.record.kind) == ("pass", ""), done.record
    assert done.lying is not None
    # What was left ends last: it was let go when all else was done.
    assert [pulled.request.store.name for pulled in done.lying.pulls] == ["other", "main"]
    assert all(pulled.succeeded for pulled in done.lying.pulls)


def test_a_healthy_pull_after_many_bad_ones(judge: Judge) -> None:
    rule = '[[rule]]\nname = "gone"\non = "manifest"\nstatus = 404\n'
    steps = '[[pull]]\ntimes = 4\noutcome = "refused"\n[[pull]]\nwithout = ["gone"]\n'
    done = judged(judge, IMAGE + rule + steps + PULLED)

    assert done.record.verdict == "pass", done.record
    outcomes = [pull["outcome"] for pull in done.record.pulls]
    assert outcomes == ["failed"] * 4 + ["pulled"]


@pytest.mark.parametrize(
    ("registry", "given", "words"),
    [
        ('auth = "basic"', 'auth = "none"', "no credentials are given"),
        ('auth = "basic"', 'auth = "wrong"', "the password is wrong"),
        ("tls = true", 'trust = "none"', "the puller isn't told of the CA"),
        (
            "tls = true\nclient_certificate = true",
            'client_certificate = "none"',
            "the client certificate is none",
        ),
        (
            "tls = true\nclient_certificate = true",
            'client_certificate = "wrong"',
            "the client certificate is wrong",
        ),
        ("tls = true", "plain_http = true", "the puller is told to speak plain http"),
    ],
)
def test_what_is_given_wrongly_is_a_lie(
    judge: Judge, registry: str, given: str, words: str
) -> None:
    expect = '[expect]\noutcome = "refused"\nabsent = true\n'
    done = judged(judge, f"[[registry]]\n{registry}\n{IMAGE}[pull]\n{given}\n{expect}")

    assert done.record.verdict == "pass", done.record
    assert done.record.lies == [words]
    assert done.record.neighbour["pulls"][0]["outcome"] == "pulled"


def test_credentials_of_another_registry_are_a_lie(judge: Judge) -> None:
    world = '[[registry]]\nauth = "basic"\n[[registry]]\nname = "mirror"\nauth = "basic"\n'
    text = world + IMAGE + '[pull]\nauth = { of = "mirror" }\n[expect]\noutcome = "refused"\n'
    done = judged(judge, text)

    assert done.record.verdict == "pass", done.record
    assert done.record.lies == ["the credentials are those of mirror"]
    # The puller was told to show them there.
    assert done.record.breaches == []


@pytest.mark.parametrize("given", ["right", "wrong", "none"])
@pytest.mark.parametrize("tls", ["true", "false"])
def test_a_proxy_is_gone_through(judge: Judge, given: str, tls: str) -> None:
    outcome = "pulled" if given == "right" else "refused"
    # By its name: nobody goes through a proxy to the own machine.
    origin = f'[[registry]]\nhost = "registry.test"\nauth = "basic"\ntls = {tls}\n'
    world = f'{origin}[[proxy]]\nauth = "basic"\n{IMAGE}'
    seen = '[[expect.requests]]\nregistry = "proxy"\non = "proxy"\nat_least = 1\n'
    text = f'{world}[pull]\nproxy = {{ name = "proxy", auth = "{given}" }}\n'
    done = judged(judge, f'{text}[expect]\noutcome = "{outcome}"\nno_leak = true\n{seen}')

    assert done.record.verdict == "pass", done.record
    words = f"the password for the proxy is {given}"
    assert done.record.lies == ([] if given == "right" else [words])


@pytest.mark.parametrize("given", ["right", "wrong", "none"])
def test_encrypted_layers_need_their_key(judge: Judge, given: str) -> None:
    outcome = "pulled" if given == "right" else "refused"
    content = "rootfs = true\n" if given == "right" else ""
    text = f'[[image]]\nencrypted = true\n[pull]\ndecryption_key = "{given}"\n'
    done = judged(judge, f'{text}[expect]\noutcome = "{outcome}"\n{content}')

    assert done.record.verdict == "pass", done.record
    assert done.record.lies == ([] if given == "right" else [f"the key of the layers is {given}"])


def test_right_means_are_given_without_a_word(judge: Judge) -> None:
    world = '[[registry]]\ntls = true\nclient_certificate = true\nauth = "basic"\n'
    done = judged(judge, world + IMAGE + "[pull]\n" + PULLED)

    assert (done.record.verdict, done.record.lies) == ("pass", []), done.record


def test_hosts_have_options(judge: Judge) -> None:
    world = (
        '[[registry]]\n[[registry]]\nname = "mirror"\ntls = true\n'
        '[[image]]\nregistry = ["origin", "mirror"]\n'
    )
    host = '{ registry = "mirror", server = true, headers = { X-From = "here" } }'
    seen = '[[expect.requests]]\nregistry = "mirror"\non = "blob"\nwith_header = "X-From"\n'
    text = f'{world}[pull]\nhosts = [{host}]\n{PULLED}untouched = ["origin"]\n{seen}at_least = 2\n'
    done = judged(judge, text)

    assert done.record.verdict == "pass", done.record


def test_a_host_may_be_unknown_to_the_resolver(judge: Judge) -> None:
    world = '[[registry]]\n[[registry]]\nname = "mirror"\n'
    image = '[[image]]\nregistry = ["origin", "mirror"]\n'
    hosts = '[pull]\nhosts = [{ registry = "mirror", resolves = false }]\n'
    done = judged(judge, f'{world}{image}{hosts}{PULLED}untouched = ["mirror"]\n')

    assert done.record.verdict == "pass", done.record
    assert done.record.lies == ["the name of mirror doesn't resolve"]


WRONG: list[tuple[str, str]] = [
    ('[[expect.requests]]\non = "blob"\nat_most = 1', "2 requests for blob at origin, at most 1"),
    ('[[expect.requests]]\non = "blob"\nat_least = 9', "2 requests for blob at origin, at least 9"),
    ('[[expect.requests]]\non = "blob"\nbytes_at_most = 10', "bytes of requests for blob"),
    ('[[expect.requests]]\non = "any_request"\napart_s = 5', "s apart, at least 5 s"),
    ("[[expect.connections]]\nat_most = 0", "connections to origin, at most 0"),
]


@pytest.mark.parametrize(("expect", "words"), WRONG)
def test_an_expectation_that_does_not_hold_is_told(judge: Judge, expect: str, words: str) -> None:
    done = judged(judge, f"{IMAGE}[pull]\n{PULLED}{expect}")

    # By the user's own word (SCENARIO-01), which is a MUST.
    assert done.record.verdict == "fail", done.record
    assert words in done.record.actual


def test_requests_at_once_are_counted(judge: Judge) -> None:
    text = (
        '[[image]]\nlayers = 4\n[[rule]]\nname = "held"\non = "blob"\nlie = false\n'
        'delay_headers = "300ms"\n[pull]\nmax_concurrent_downloads = 2\n' + PULLED
    )
    expect = '[[expect.requests]]\non = "blob"\nin_flight_at_most = '

    assert judged(judge, f"{text}{expect}2").record.verdict == "pass"
    done = judged(judge, f"{text}{expect}1").record
    assert done.verdict == "fail"
    assert "2 requests for blob at origin at once, at most 1" in done.actual


def test_bytes_are_compared_with_what_is_needed(judge: Judge) -> None:
    again = (
        '[[image]]\nlayers = 1\nsize = "1MiB"\n'
        '[[rule]]\non = "blob"\nmethod = "GET"\nfirst = 1\ntruncate_after = "900KiB"\n'
        '[[rule]]\non = "blob"\nrange = true\nstatus = 400\n[pull]\n' + PULLED
    )
    assert judged(judge, f"{again}fetched_at_most = 2").record.verdict == "pass"
    done = judged(judge, f"{again}fetched_at_most = 1.5").record
    assert done.verdict == "fail"
    assert "bytes were fetched" in done.actual


@pytest.mark.parametrize("store", ["main", "fresh"])
def test_what_a_store_has_is_needed_once(judge: Judge, store: str) -> None:
    steps = f'[[pull]]\n[[pull]]\nstore = "{store}"\n'

    done = judged(judge, f"{IMAGE}{steps}{PULLED}fetched_at_most = 1.2\n")

    assert done.record.verdict == "pass", done.record


def test_a_secret_in_the_wrong_place_is_told(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{IMAGE}[pull]\n{PULLED}no_leak = true\n"
    assert judged(judge, text).record.verdict == "pass"

    breaches = [
        Breach("password of origin", name, "http", "query", "incident/odd", name == "mirror")
        for name in ("mirror", "cdn")
    ]
    monkeypatch.setattr("conformance.expected.breaches_of", lambda world: breaches)
    done = judged(judge, text).record

    assert done.verdict == "fail"
    assert "password of origin was seen by cdn (query)" in done.actual


def test_a_puller_that_never_comes_to_the_rule_is_told(judge: Judge, monkeypatch: Any) -> None:
    monkeypatch.setattr("conformance.steps._PATIENCE_S", 0.2)
    rule = '[[rule]]\nname = "never"\non = "upload"\nbait = true\ndelay_headers = "forever"\n'
    done = judged(judge, f'{IMAGE}{rule}[pull]\ncancel_at = "never"\n{PULLED}')

    assert done.record.verdict == "fail"
    assert "no pull came to where 'never' holds" in done.record.actual


def test_a_rule_that_cannot_hold_ends_a_pull_once_it_has_fired(judge: Judge) -> None:
    rule = '[[rule]]\nname = "slow"\non = "blob"\nmethod = "GET"\nthrottle = "1KiB"\nlie = false\n'
    done = judged(judge, f'{IMAGE}{rule}[pull]\ncancel_at = "slow"\noutcome = "refused"\n{PULLED}')

    assert done.record.verdict == "pass", done.record


def test_the_named_case_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert all_cases()
    file = tmp_path / "slow-disk.toml"
    file.write_text("[incident]\ntitle = 'x'\ncase = 'blob/cut-shor'\n[[image]]\n")
    monkeypatch.setattr("conformance.incident.shipped", lambda: {**shipped(), "slow-disk": file})

    with pytest.raises(CaseError, match=r"slow-disk: no case 'blob/cut-shor'.*did you mean"):
        all_cases()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[image]]\n", "odd.toml: no [pull] and [expect]: there is nothing to judge"),
        (
            f"[[image]]\n[pull]\n{PULLED}requirements = ['BLOB-O1']\n",
            "odd.toml:6: no requirement 'BLOB-O1': did you mean 'BLOB-",
        ),
        (
            f"[[image]]\n[pull]\n{PULLED}capabilities = ['stor']\n",
            "odd.toml:6: no capability 'stor': did you mean 'store'?",
        ),
        ("[[image]]\n[pull]\nautj = 1\n[expect]\noutcome = 'pulled'\n", "odd.toml:3: unknown key"),
    ],
)
def test_a_file_that_cannot_be_judged_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(text)

    with pytest.raises(CaseError) as caught:
        load_cases([str(file)])

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class _Times:
    def __init__(self, opened: float, ended: float | None) -> None:
        self.opened, self.ended = opened, ended


class _Exchange:
    def __init__(self, opened: float, ended: float | None) -> None:
        self.times = _Times(opened, ended)


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ([], 0),
        ([(0, 1), (1, 2)], 1),
        ([(0, 2), (1, 3), (1, 1.5)], 3),
        ([(0, None), (5, None)], 2),
    ],
)
def test_the_most_under_way_at_once(spans: list[tuple[float, float | None]], most: int) -> None:
    exchanges: Any = [_Exchange(*span) for span in spans]
    assert most_in_flight(exchanges) == most
