"""The journal as a picture: a stand-alone SVG with a lane per connection and a bar per exchange.

Lanes stand below their registry. A bar is hollow until the head of the answer, pale until the
first byte, solid while the body flows, and thin while the line is only held. How it ended has a
shape as well as a colour, and a rule that edited the answer has a flag. The picture has no script,
nothing from outside, and follows the reader's light or dark page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

from fakeregistry.serve.amounts import size_words, tick_words, time_words

from .bars import Bar, clean
from .style import STYLE

__all__ = ["MOST_BARS", "draw"]

MOST_BARS = 2000
"""So many exchanges are drawn; of what comes later only the number is told."""

WIDTH, LEFT, RIGHT = 1200, 168, 28
TOP, LANE, BAR, HEADING, FOOT = 78, 20, 12, 36, 58
CHARACTER = 6.1
"""Width of a character of the small type, about."""

ENDS = {
    "complete": ("complete", "whole"),
    "fin": ("cut", "cut by FIN"),
    "rst": ("reset", "cut by RST"),
    "rst_stream": ("reset", "cut by RST_STREAM"),
    "goaway": ("reset", "cut by GOAWAY"),
    "client_gone": ("gone", "left by the client"),
    "stopped": ("gone", "ended with the registry"),
    "open": ("open", "still under way"),
}
"""How an exchange ended -> its class, and in words."""


@dataclass(frozen=True)
class Scale:
    """Seconds to pixels. ``step`` lies between two ticks."""

    span: float
    step: float

    def x(self, seconds: float) -> float:
        """Where a moment stands."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(seconds / self.span, 0), 1), 1)


@dataclass(frozen=True)
class Lane:
    """One connection, and its exchanges in rows: those of one row don't overlap.

    HTTP/1.1 needs one row; HTTP/2 carries several exchanges at a time.
    """

    registry: str
    connection: str
    rows: tuple[tuple[Bar, ...], ...]

    @property
    def count(self) -> int:
        """How many exchanges it has."""
        return sum(map(len, self.rows))


def draw(bars: Sequence[Bar], title: str = "") -> str:
    """The picture of these exchanges, as the text of an SVG file."""
    title = clean(title) or "Timeline of requests"
    drawn = list(bars[:MOST_BARS])
    lanes = _lanes(drawn)
    scale = _scale(drawn)
    registries = list(dict.fromkeys(lane.registry for lane in lanes))
    rows = sum(len(lane.rows) for lane in lanes)
    height = TOP + HEADING * len(registries) + LANE * rows + FOOT
    root = Xml.Element(
        "svg", _texts(xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {height}")
    )
    root.set("role", "img")
    Xml.SubElement(root, "title").text = title
    Xml.SubElement(root, "style").text = STYLE
    _add(root, "rect", "page", width=WIDTH, height=height)
    _text(root, 20, 28, clipped(title, 120), "title")
    _text(root, 20, 46, _summary(bars, lanes), "dim")
    y = float(TOP)
    _grid(root, scale, y, height - FOOT + 4)
    for registry in registries:
        own = [lane for lane in lanes if lane.registry == registry]
        _heading(root, registry, own, y)
        y += HEADING
        for lane in own:
            _lane(root, lane, scale, y)
            y += LANE * len(lane.rows)
    _legend(root, height - 22)
    Xml.indent(root, space=" ")
    return Xml.tostring(root, encoding="unicode") + "\n"


def _lanes(bars: Iterable[Bar]) -> list[Lane]:
    found: dict[tuple[str, str], list[Bar]] = {}
    for bar in bars:
        found.setdefault((bar.registry, bar.connection), []).append(bar)
    return [Lane(registry, name, _rows(own)) for (registry, name), own in found.items()]


def _rows(bars: Iterable[Bar]) -> tuple[tuple[Bar, ...], ...]:
    rows: list[list[Bar]] = []
    for bar in bars:
        free = (row for row in rows if row[-1].end is not None and row[-1].end <= bar.at)
        row = next(free, None)
        if row is None:
            rows.append([bar])
        else:
            row.append(bar)
    return tuple(map(tuple, rows))


def _last(bar: Bar) -> float:
    """The last moment that is known of an exchange."""
    moments = (bar.at, bar.head, bar.first_byte, bar.last_byte, bar.end)
    return max(moment for moment in moments if moment is not None)


def _scale(bars: Sequence[Bar]) -> Scale:
    span = max((_last(bar) for bar in bars), default=0.0) * 1.02 or 1.0
    rough = max(span / 8, 1e-6)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return Scale(span, step)


def _summary(bars: Sequence[Bar], lanes: Sequence[Lane]) -> str:
    sent = sum(bar.size for bar in bars)
    words = [
        _count(len(bars), "request"),
        _count(len(lanes), "connection"),
        f"{size_words(sent)} of content",
        time_words(max((_last(bar) for bar in bars), default=0.0)),
    ]
    if len(bars) > MOST_BARS:
        words.append(f"the first {MOST_BARS} are drawn")
    return " · ".join(words)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}".replace(",", "\u2009")


# parts of the picture


def _grid(root: Xml.Element, scale: Scale, top: float, bottom: float) -> None:
    number = 0
    while number * scale.step <= scale.span * 1.0001:
        at = number * scale.step
        x = scale.x(at)
        _add(root, "line", "grid", x1=x, x2=x, y1=top - 6, y2=bottom)
        _text(root, x, top - 11, tick_words(at, scale.span), "tick", anchor="middle")
        number += 1


def _heading(root: Xml.Element, registry: str, lanes: Sequence[Lane], y: float) -> None:
    count = sum(lane.count for lane in lanes)
    _add(root, "rect", "band", x=0, y=y + 4, width=WIDTH, height=HEADING - 11)
    name = _text(root, 20, y + 21, clipped(registry, 40), "registry")
    note = Xml.SubElement(name, "tspan", _texts(dx=10))
    note.set("class", "note")
    note.text = f"{_count(count, 'request')} · {_count(len(lanes), 'connection')}"


def _lane(root: Xml.Element, lane: Lane, scale: Scale, y: float) -> None:
    name = f"connection {clipped(lane.connection or '?', 12)}"
    _text(root, 34, y + LANE / 2 + 3, name, "dim name")
    for number, row in enumerate(lane.rows):
        middle = y + LANE * number + LANE / 2 - 1
        _add(root, "line", "lane", x1=LEFT, x2=WIDTH - RIGHT, y1=middle, y2=middle)
        starts = [scale.x(bar.at) for bar in row[1:]] + [float(WIDTH - 4)]
        after = float(LEFT)
        for bar, until in zip(row, starts, strict=True):
            after = _bar(root, bar, scale, middle, (after, until))


def _bar(
    root: Xml.Element, bar: Bar, scale: Scale, middle: float, room: tuple[float, float]
) -> float:
    """Draw one exchange into its row, where `room` is free; return where the drawn part ends."""
    kind, _ = ENDS.get(bar.ended, ENDS["complete"])
    group = _add(root, "g")
    Xml.SubElement(group, "title").text = story(bar)
    end = bar.end if bar.end is not None else max(_last(bar), scale.span / 1.02)
    widest = ("wait", 0.0, 0.0)
    for name, start, stop in segments(bar, end):
        x, right = scale.x(start), scale.x(stop)
        if name == "hold" and right - x < 3:
            continue
        height = 4 if name == "hold" else BAR
        _add(
            group,
            "rect",
            f"{name} {kind}",
            x=x,
            y=middle - height / 2,
            width=max(round(right - x, 1), 1.4),
            height=height,
            rx=0 if name == "hold" else 2,
        )
        widest = max(widest, (name, x, right), key=lambda one: one[2] - one[1])
    x = max(scale.x(end), scale.x(bar.at) + 1.4)
    if kind in _MARKS:
        _mark(group, kind, x + 6, middle)
        x += 9
    if bar.rules:
        at = scale.x(bar.at)
        _add(group, "path", "flag", d=f"M{at:g} {middle - 3:g}v-7h8l-2 2.4 2 2.4h-7")
    _label(group, bar, ((room[0], scale.x(bar.at)), widest, (x, room[1])), middle)
    return x


def _label(
    group: Xml.Element,
    bar: Bar,
    places: tuple[tuple[float, float], tuple[str, float, float], tuple[float, float]],
    middle: float,
) -> None:
    """Words about a bar: behind it, else on its widest stretch, else before it; where they fit."""
    before, (name, left, right), behind = places
    words = label_of(bar)
    for text in (words, words.partition(" · ")[0]):
        width = len(text) * CHARACTER
        if width <= behind[1] - behind[0] - 8:
            _text(group, behind[0] + 5, middle + 4, text, "dim")
            return
        if width <= right - left - 12:
            if name == "hold":
                _add(group, "rect", "page", x=left + 4, y=middle - 6, width=width + 6, height=BAR)
            _text(group, left + 7, middle + 4, text, "on" if name == "body" else "dim")
            return
        if width <= before[1] - before[0] - 12:
            _text(group, before[1] - 6, middle + 4, text, "dim", anchor="end")
            return


def _mark(parent: Xml.Element, kind: str, x: float, middle: float) -> None:
    shape = _MARKS[kind].format(
        x=x, left=x - 3, right=x + 3, top=middle - 4, bottom=middle + 4, middle=middle
    )
    _add(parent, "path", f"mark {kind}", d=shape)


def segments(bar: Bar, end: float) -> Iterator[tuple[str, float, float]]:
    """The stretches of a bar: waiting, the head alone, the body, and the line held after it."""
    head = end if bar.head is None else bar.head
    yield "wait", bar.at, head
    if bar.head is None:
        return
    first = end if bar.first_byte is None else bar.first_byte
    yield "pale", head, first
    if bar.first_byte is None:
        return
    last = first if bar.last_byte is None else bar.last_byte
    yield "body", first, last
    if end > last:
        yield "hold", last, end


_MARKS = {
    "cut": "M{x:g} {top:g}V{bottom:g}",
    "reset": "M{left:g} {top:g}L{right:g} {bottom:g}M{right:g} {top:g}L{left:g} {bottom:g}",
    "gone": "M{right:g} {top:g}L{left:g} {middle:g}L{right:g} {bottom:g}",
    "open": "M{left:g} {top:g}L{right:g} {middle:g}L{left:g} {bottom:g}",
}
"""The shape at the end of a bar; what is whole needs none."""


def label_of(bar: Bar) -> str:
    """What stands beside a bar: method, what it was about, status, and how much came."""
    about = bar.kind.replace("_", " ") or bar.target.rpartition("/")[2]
    status = "no answer" if bar.status is None else str(bar.status)
    size = f" · {size_words(bar.size)}" if bar.size else ""
    return f"{clipped(bar.method, 8)} {clipped(about, 28)} {status}{size}"


def story(bar: Bar) -> str:
    """All about one exchange, for whoever points at it."""
    _, ended = ENDS.get(bar.ended, ("", bar.ended))
    status = "no answer" if bar.status is None else str(bar.status)
    lines = [f"{bar.method} {clipped(bar.target, 160)}", f"{status}, {ended}, {_bytes(bar.size)}"]
    moments = (
        ("asked", bar.at),
        ("head", bar.head),
        ("first byte", bar.first_byte),
        ("last byte", bar.last_byte),
        ("end", bar.end),
    )
    lines.append(", ".join(f"{name} {time_words(at)}" for name, at in moments if at is not None))
    lines += [clipped(rule, 200) for rule in bar.rules[:8]]
    return "\n".join(lines)


def _bytes(size: int) -> str:
    return f"{size} bytes" if size < 1024 else f"{size} bytes ({size_words(size)})"


def _legend(root: Xml.Element, y: float) -> None:
    x = 20.0
    for name, words in (
        ("wait", "no answer yet"),
        ("pale", "head"),
        ("body", "body"),
        ("hold", "held"),
    ):
        height = 4 if name == "hold" else 10
        _add(root, "rect", f"{name} complete", x=x, y=y - 4 - height / 2, width=20, height=height)
        _text(root, x + 26, y, words, "dim")
        x += 26 + len(words) * CHARACTER + 20
    for kind, words in (
        ("cut", "cut by FIN"),
        ("reset", "cut by RST"),
        ("gone", "client left"),
        ("open", "under way"),
    ):
        _mark(root, kind, x + 8, y - 4)
        _text(root, x + 18, y, words, "dim")
        x += 18 + len(words) * CHARACTER + 20
    _add(root, "path", "flag", d=f"M{x:g} {y:g}v-8h8l-2 2.4 2 2.4h-7")
    _text(root, x + 14, y, "a rule of the registry was at work", "dim")


# the smallest parts


def clipped(text: str, most: int) -> str:
    """A text of at most so many characters; what is left out shows."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _texts(**attributes: object) -> dict[str, str]:
    def shown(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    return {name: shown(value) for name, value in attributes.items()}


def _add(parent: Xml.Element, tag: str, kind: str = "", **attributes: object) -> Xml.Element:
    made = Xml.SubElement(parent, tag, _texts(**attributes))
    if kind:
        made.set("class", kind)
    return made


def _text(
    parent: Xml.Element, x: float, y: float, text: str, kind: str, *, anchor: str = ""
) -> Xml.Element:
    made = _add(parent, "text", kind, x=round(x, 1), y=round(y, 1))
    if anchor:
        made.set("text-anchor", anchor)
    made.text = text
    return made
