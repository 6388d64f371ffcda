"""Reads TOML so that every mistake becomes one line: file, line, key, and what was meant.

A :class:`Table` hands out its keys one by one, each with the type that is wanted; what nobody
asked for is then an unknown key. Problems are collected: a file's author sees all of them at once.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Place = tuple[str | int, ...]

_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}
SIZE = r"(-?\d+)\s*([A-Za-z]*)"
TIME = r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)"
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Problem:
    """One mistake. ``line`` 0: the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}"


class ScenarioError(ValueError):
    """A scenario file that can't be used: one line for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def size_of(text: str) -> int | None:
    """Bytes from ``"64KiB"``, ``"-1"``, ``"2 MB"``; None where it is no size."""
    match = re.fullmatch(SIZE, text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    return int(match[1]) * unit if match and unit is not None else None


def seconds_of(text: str) -> float | None:
    """Seconds from ``"250ms"``, ``"10s"``, ``"1.5m"``, ``"6h"``; None where it is no time."""
    match = re.fullmatch(TIME, text.strip())
    return float(match[1]) * _TIMES[match[2]] if match else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """``: did you mean 'x'?``, or the known words where none is near."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f" (known: {', '.join(names)})" if names else ""


class Source:
    """A scenario's data, where each key stands (in text), and the problems found in it."""

    def __init__(
        self, file: str, data: dict[str, Any], lines: Mapping[Place, int] | None = None
    ) -> None:
        self.file = file
        self.is_file = False
        self.problems: list[Problem] = []
        self._lines = lines or {}
        self.top = Table(self, data, ())

    @classmethod
    def of_file(cls, path: Path) -> "Source":
        """Read a file; raises :class:`ScenarioError` where it can't be read or is no TOML."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
            raise ScenarioError([Problem(str(path), 0, f"can't read it: {reason}")]) from None
        source = cls.of_text(str(path), text)
        source.is_file = True
        return source

    @classmethod
    def of_text(cls, file: str, text: str) -> "Source":
        """Read a text, called `file` in messages; raises :class:`ScenarioError` for no TOML."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
            message = str(error)[: where.start()] if where else str(error)
            last = len(text.splitlines())
            line = int(where[1] or last) if where else 0
            raise ScenarioError([Problem(file, line, f"not TOML: {message}")]) from None
        except RecursionError:
            raise ScenarioError([Problem(file, 0, "not TOML: nested too deeply")]) from None
        return cls(file, data, _lines_of(text))

    def check(self) -> None:
        """Raise :class:`ScenarioError` where problems were found, in the order of the lines."""
        if self.problems:
            raise ScenarioError(sorted(self.problems, key=lambda problem: problem.line))

    def problem(self, place: Place, message: str) -> None:
        """Note a mistake at a place; the line is that of the nearest key that is known."""
        at = place
        while at and at not in self._lines:
            at = at[:-1]
        self.problems.append(Problem(self.file, self._lines.get(at, 0), message))

    def line_of(self, place: Place) -> int:
        """The line where a table or key stands; 0 where it is not known."""
        return self._lines.get(place, 0)


class Table:
    """One table: asks for keys by type, and knows which ones nobody asked for.

    A method returns its default where the key is absent or wrong (a wrong one is also a problem).
    """

    def __init__(self, source: Source, data: dict[str, Any], place: Place) -> None:
        self.source = source
        self.place = place
        self._data = dict(data)
        self._known: list[str] = []

    @property
    def line(self) -> int:
        """The line of the table's header."""
        return self.source.line_of(self.place)

    def line_of(self, key: str) -> int:
        """The line of one of this table's keys; 0 where it is not known."""
        return self.source.line_of((*self.place, key))

    def problem(self, key: str, message: str) -> None:
        """Note a mistake at one of this table's keys (an empty key: at the table)."""
        self.source.problem((*self.place, key) if key else self.place, message)

    def has(self, key: str) -> bool:
        """Whether the key is there and wasn't taken yet."""
        return key in self._data

    def left(self) -> list[str]:
        """The keys that nobody took."""
        return list(self._data)

    def take(self, key: str) -> Any:
        """The value as it is, or None."""
        self._known.append(key)
        return self._data.pop(key, None)

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self.take(key)
        if value is None or isinstance(value, str):
            return default if value is None else value
        self._wrong(key, value, "a text")
        return default

    def required(self, key: str) -> str:
        """A text that must be there and not be empty."""
        there = self.has(key)
        value = self.text(key)
        if not value.strip() and (not there or value == ""):
            self.problem("" if not there else key, f"{self._name()} needs {key!r}, a text")
        return value

    def choice(self, key: str, options: Sequence[str], default: str) -> str:
        """One word of a list."""
        value = self.text(key, default)
        if value == default or value in options:
            return value
        self.problem(key, f"{key} = {value!r} is unknown{suggestion(value, options)}")
        return default

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self._wrong(key, value, "true or false")
        return default

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int | None:
        """A whole number of at least ``least``."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(key, value, "a whole number")
            return default
        if value < least:
            self.problem(key, f"{key} = {value}: it must be at least {least}")
            return default
        return value

    def size(self, key: str, default: int) -> int:
        """A number of bytes, or a text such as ``"64KiB"``."""
        value = self.take(key)
        found = size_of(value) if isinstance(value, str) else value
        if value is None:
            return default
        if isinstance(found, bool) or not isinstance(found, int):
            self._wrong(key, value, 'a size such as 4096 or "64KiB"')
            return default
        return found

    def seconds(self, key: str) -> float | None:
        """A time in seconds, or a text such as ``"10s"``."""
        value = self.take(key)
        found = seconds_of(value) if isinstance(value, str) else value
        if value is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
            self._wrong(key, value, 'a time such as 2.5 or "10s"')
            return None
        return float(found)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.take(key)
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self._wrong(key, value, "a list of texts")
        return ()

    def named_texts(self, key: str) -> dict[str, str]:
        """A table of texts by name."""
        value = self.take(key)
        if value is None:
            return {}
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return dict(value)
        self._wrong(key, value, "a table of texts: { name = text }")
        return {}

    def values(self, key: str) -> dict[str, Any]:
        """A table of values of any kind by name."""
        value = self.take(key)
        if value is None or isinstance(value, dict):
            return dict(value or {})
        self._wrong(key, value, "a table of values: { name = value }")
        return {}

    def table(self, key: str) -> "Table | None":
        """A table within this one."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, dict):
            return Table(self.source, value, (*self.place, key))
        self._wrong(key, value, f"a table: [{key}]")
        return None

    def tables(self, key: str, *, one: bool = False) -> "list[Table]":
        """An array of tables ``[[key]]``; with ``one``, also a single ``[key]``."""
        value = self.take(key)
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return [
                Table(self.source, item, (*self.place, key, number))
                for number, item in enumerate(value)
            ]
        if one and isinstance(value, dict):
            return [Table(self.source, value, (*self.place, key))]
        self._wrong(key, value, f"an array of tables: [[{key}]]")
        return []

    def finish(self, also: Iterable[str] = ()) -> None:
        """Make a problem of each key that nobody took; ``also`` are more keys to suggest."""
        for key in self._data:
            near = suggestion(key, [*self._known, *also])
            self.problem(key, f"unknown key {key!r} in {self._name()}{near}")
        self._data.clear()

    def _name(self) -> str:
        words = [str(part) for part in self.place if isinstance(part, str)]
        if not words:
            return "the file"
        array = isinstance(self.place[-1], int)
        return f"[[{'.'.join(words)}]]" if array else f"[{'.'.join(words)}]"

    def _wrong(self, key: str, value: Any, wanted: str) -> None:
        self.problem(key, f"{key} = {_shown(value)}: it must be {wanted}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\s]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-]+(?:\s*\.\s*[A-Za-z0-9_\-]+)*)\s*=(.*)$")


def _lines_of(text: str) -> dict[Place, int]:
    """Where each table and key stands. Only a help for messages: quoted keys are not found."""
    lines: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quote:
            if line.count(quote) % 2:
                quote = ""
            continue
        header = _HEADER.match(line)
        key = None if header else _KEY.match(line)
        if header:
            table = _opened(header[2], header[1] == "[[", counts)
            lines.setdefault(table, number)
        elif key:
            path = table
            for part in key[1].split("."):
                path = (*path, part.strip())
                lines.setdefault(path, number)
            quote = next((q for q in ('"""', "'''") if key[2].count(q) % 2), "")
    return lines


def _opened(name: str, array: bool, counts: dict[Place, int]) -> Place:
    place: Place = ()
    parts = [part.strip() for part in name.split(".")]
    for part in parts[:-1]:
        place = (*place, part)
        if place in counts:
            place = (*place, counts[place])
    place = (*place, parts[-1])
    if array:
        counts[place] = counts.get(place, -1) + 1
        place = (*place, counts[place])
    return place
