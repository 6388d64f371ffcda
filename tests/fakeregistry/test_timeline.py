"""Timelines: what the picture holds is what the journal holds, whoever wrote it."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import httpx
import pytest

from fakeregistry import Registries, an_image, basic, blob
from fakeregistry.journal.bars import Bar, BarsError, bars_of
from fakeregistry.journal.timeline import MOST_BARS, draw, segments
from fakeregistry.serve.amounts import size_words, tick_words, time_words
from fakeregistry.serve.cli import main

SVG = "{http://www.w3.org/2000/svg}"


def line(**changes: Any) -> str:
    document: dict[str, Any] = {
        "number": 1,
        "registry": "origin",
        "connection": 1,
        "method": "GET",
        "target": "/v2/app/web/blobs/sha256:0?token=abc",
        "kind": "blob",
        "status": 200,
        "bytes_sent": 2048,
        "ended": "complete",
        "rules": [],
        "times": {"opened": 1.0, "head": 1.1, "first_byte": 1.2, "last_byte": 1.5, "ended": 1.6},
    }
    return json.dumps({**document, **changes})


def parts(picture: str, tag: str, kind: str = "") -> list[Xml.Element]:
    found = Xml.fromstring(picture).iter(SVG + tag)
    return [one for one in found if kind in (one.get("class") or "").split() or not kind]


def stories(picture: str) -> list[str]:
    """What is told of each exchange; the first title is the picture's own."""
    return [one.text or "" for one in parts(picture, "title")][1:]


def words(picture: str) -> str:
    return "\n".join(one.text or "" for one in parts(picture, "text"))


def test_a_real_journal_is_drawn_as_it_is() -> None:
    with Registries() as registries:
        origin, cdn = registries.registry(), registries.registry("cdn")
        origin.auth = basic("alice")
        given = origin.auth.credentials
        image = origin.add(an_image(layers=2))
        origin.on(blob(image.layers[0])).redirect(to=cdn)
        origin.on(blob(image.layers[1])).reset_after(100)
        with httpx.Client(auth=(given.username, given.password), follow_redirects=True) as client:
            for layer in image.layers:
                with contextlib.suppress(httpx.TransportError):
                    client.get(f"{origin.base_url}/v2/app/web/blobs/{layer.digest}")
        registries.journal.wait_quiet()
        text = registries.journal.to_ndjson()
        connections = {(one.registry, one.connection.id) for one in registries.journal}
        ends = [exchange.ended for exchange in registries.journal]
    picture = draw(bars_of(text), "three requests")

    assert ends == ["complete", "complete", "rst"]
    assert [one.split("\n")[1].split(", ")[1] for one in stories(picture)].count("whole") == 2
    assert sum("cut by RST" in one for one in stories(picture)) == 1
    assert "reset_after(100)" in "\n".join(stories(picture))
    assert len(parts(picture, "path", "flag")) == 2 + 1  # and one in the legend
    assert len(parts(picture, "text", "name")) == len(connections)
    assert {one.text for one in parts(picture, "text", "registry")} == {"origin", "cdn"}
    assert given.password not in picture


def test_bars_lie_where_the_times_say() -> None:
    other = line(times={"opened": 3.0, "head": None, "ended": 4.0}, status=None, bytes_sent=0)
    picture = draw(bars_of(f"{line()}\n{other}\n"))

    waits = [
        (float(one.get("x", 0)), float(one.get("width", 0)))
        for one in parts(picture, "rect", "wait")
    ]
    (first, width), (second, long) = waits[:2]
    # 0.1 s, and 1 s that begins 2 s later.
    assert second - first == pytest.approx(20 * width, rel=0.05)
    assert long == pytest.approx(10 * width, rel=0.05)
    assert "no answer" in stories(picture)[1]
    assert "asked 2 s, end 3 s" in stories(picture)[1]


def test_a_bar_has_stretches() -> None:
    bar = Bar("o", "1", 0, 1, 2, 3, 5)
    assert list(segments(bar, 5)) == [
        ("wait", 0, 1),
        ("pale", 1, 2),
        ("body", 2, 3),
        ("hold", 3, 5),
    ]
    assert list(segments(Bar("o", "1", 0, end=4), 4)) == [("wait", 0, 4)]
    assert list(segments(Bar("o", "1", 0, 1, end=4), 4)) == [("wait", 0, 1), ("pale", 1, 4)]


def test_what_is_under_way_reaches_to_the_end_of_the_picture() -> None:
    times = {"opened": 1.0, "head": 1.1, "first_byte": 1.2, "last_byte": 1.2}
    stalled = line(ended="open", times=times)
    later = line(connection=2, times={"opened": 9.0, "head": 9.1, "ended": 9.2})
    picture = draw(bars_of(f"{stalled}\n{later}"))

    held, *_ = parts(picture, "rect", "hold")
    assert float(held.get("x", 0)) + float(held.get("width", 0)) > 1100
    assert len(parts(picture, "path", "open")) == 2  # and one in the legend


def test_exchanges_at_a_time_on_one_connection_get_rows() -> None:
    second = line(times={"opened": 1.2, "head": 1.3, "ended": 1.9})
    third = line(times={"opened": 1.7, "head": 1.8, "ended": 1.9})
    picture = draw(bars_of(f"{line()}\n{second}\n{third}"))

    tops = [one.get("y") for one in parts(picture, "rect", "wait")][:3]
    # Row by row: the third begins when the first is over.
    assert tops[0] == tops[1] != tops[2]
    assert len(parts(picture, "text", "name")) == 1


def test_hostile_text_stays_text() -> None:
    evil = "</title><script>alert(1)</script>&\x00\x1b\ud800\uffff\"'"
    text = line(
        registry=evil,
        connection=evil,
        method=evil,
        kind=evil,
        target=evil,
        rules=[evil],
        ended=evil,
    )
    picture = draw(bars_of(text), evil)

    root = Xml.fromstring(picture)
    assert [one for one in root.iter() if one.tag == SVG + "script"] == []
    assert "<script" not in picture
    picture.encode("utf-8")
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def test_no_query_and_no_password_is_drawn() -> None:
    bars = bars_of(line(target="http://user:secret@h/v2/?access_token=secret"))
    assert "secret" not in draw(bars)
    assert bars[0].target == "/v2/"


@pytest.mark.parametrize("text", ["", "\n\n", '{"log": {"entries": []}}'])
def test_an_empty_journal_is_an_empty_picture(text: str) -> None:
    picture = draw(bars_of(text))

    assert "0 requests · 0 connections" in words(picture)
    assert stories(picture) == []


def test_a_long_journal_makes_no_endless_picture() -> None:
    text = "\n".join(
        line(connection=n, rules=["r" * 5000], times={"opened": n, "head": n + 0.1, "ended": n + 1})
        for n in range(10_000)
    )
    picture = draw(bars_of(text))

    assert len(stories(picture)) == MOST_BARS
    assert len(picture) < 4_000_000
    assert f"10\u2009000 requests · {MOST_BARS:,} connections".replace(",", "\u2009") in words(
        picture
    )
    assert f"the first {MOST_BARS} are drawn" in words(picture)


def test_an_archive_is_drawn_like_the_journal_that_it_comes_from() -> None:
    with Registries() as registries:
        image = registries.registry().add(an_image(layers=1))
        httpx.get(f"{image.registry.base_url}/v2/app/web/blobs/{image.layers[0].digest}")
        registries.journal.wait_quiet()
        own = bars_of(registries.journal.to_ndjson())
        archived = bars_of(json.dumps(registries.journal.to_har()))

    for one, other in zip(own, archived, strict=True):
        assert (one.registry, one.connection, one.target) == (
            other.registry,
            other.connection,
            other.target,
        )
        assert (one.method, one.status, one.size, one.kind, one.ended) == (
            other.method,
            other.status,
            other.size,
            other.kind,
            other.ended,
        )
        assert other.head == pytest.approx(one.head, abs=0.002)
        assert other.end == pytest.approx(one.end, abs=0.002)


def test_an_archive_of_a_browser_is_drawn_too() -> None:
    entry = {
        "startedDateTime": "2026-11-24T10:00:00.000Z",
        "time": 120.5,
        "request": {"method": "GET", "url": "https://example.test/a/b?c=d"},
        "response": {"status": 200, "bodySize": -1},
        "timings": {
            "blocked": -1,
            "dns": 10,
            "connect": 10,
            "send": 0,
            "wait": 80,
            "receive": 20.5,
        },
    }
    (bar,) = bars_of(json.dumps({"log": {"version": "1.2", "entries": [entry]}}))

    assert (bar.registry, bar.target, bar.at) == ("example.test", "/a/b", 0)
    assert bar.head == pytest.approx(0.1)
    assert bar.end == pytest.approx(0.1205)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "line 1: no JSON: a line of a journal, or a HAR file is meant"),
        (line() + "\n[1]", "line 2: no exchange of a journal: it has no 'times'"),
        ('{"times": {}}', "line 1: times.opened is missing"),
        (line(times={"opened": "now"}), "line 1: times.opened: a number of seconds is meant"),
        (line(times={"opened": 1, "head": 1e300}), "line 1: times.head: a number of seconds is"),
        ('{"log": {}}', "the archive has no log.entries"),
        ('{"log": {"entries": [1]}}', "entry 0: an object is meant"),
        ('{"log": {"entries": [{}]}}', "entry 0: startedDateTime is no time"),
        ("[" * 100_000, "line 1: no JSON"),
    ],
)
def test_what_is_no_journal_is_one_line(text: str, message: str) -> None:
    with pytest.raises(BarsError) as caught:
        bars_of(text)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (size_words(0), "0 bytes"),
        (size_words(1023), "1023 bytes"),
        (size_words(1536), "1.5 KiB"),
        (size_words(5 << 30), "5 GiB"),
        (time_words(0), "0 s"),
        (time_words(0.0125), "12.5 ms"),
        (time_words(0.0000004), "0.4 µs"),
        (time_words(3), "3 s"),
        (time_words(300), "5 min"),
        (tick_words(0.5, 3), "0.5 s"),
        (tick_words(0.5, 0.9), "500 ms"),
        (tick_words(90, 200), "1.5 min"),
        (tick_words(1.5, 1.9), "1.5 s"),
    ],
)
def test_numbers_read_well(said: str, meant: str) -> None:
    assert said == meant


def test_the_command_draws_a_file_and_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "journal.ndjson"
    journal.write_text(line() + "\n")
    assert main(["timeline", str(journal), "-o", str(tmp_path / "t.svg"), "--title", "a < b"]) == 0
    assert capsys.readouterr().out == ""
    assert "a < b" in words((tmp_path / "t.svg").read_text())

    done = subprocess.run(
        [sys.executable, "-m", "fakeregistry", "timeline", "-"],
        input=journal.read_text(),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert "standard input" in words(done.stdout)


def test_the_command_says_in_one_line_what_it_cannot_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"\xff\xfe")
    good = tmp_path / "good"
    good.write_text(line())

    assert main(["timeline", str(tmp_path / "none")]) == 2
    assert main(["timeline", str(bad)]) == 2
    bad.write_text("hello")
    assert main(["timeline", str(bad)]) == 2
    assert main(["timeline", str(good), "-o", str(tmp_path / "no" / "where.svg")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [one.partition(": ")[2].replace(str(tmp_path), "") for one in said] == [
        "/none: can't read it: No such file or directory",
        "/bad: it isn't UTF-8 text",
        "/bad: line 1: no JSON: a line of a journal, or a HAR file is meant",
        "can't write /no/where.svg: No such file or directory",
    ]
