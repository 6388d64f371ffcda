"""What every fuzzer of the reference shares: the promises of a parser, and inputs to try it with.

A fuzzer is a module `fuzz_*.py` with

- ``SEEDS``: inputs that reach deep, most of them made by the registry's own builders;
- ``WORDS``: what the grammar is made of, for mutations;
- ``fuzz_one(data)``: runs the parser on any bytes, and raises when it breaks a promise.
"""

from __future__ import annotations

import copy
import importlib
import json
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from reference.errors import PullError

SECRET = "s3cr3t-canary"
"""Stands in inputs wherever a password or a token would."""
MIB = 1024 * 1024
LONGEST_MESSAGE = 1000
slack = 1
"""What steps are multiplied by: whoever instruments the code makes it call more."""

DEEP = (100, 500, 900, 940, 960, 970, 980, 985, 990, 995, 1000, 5000, 100_000)
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, float("nan")),
    *("", "x", "\0", "\ud800", "é", "a" * 300, "http://[", "https://user@h.test:x/"),
    *([], {}, [[]], [None], [1], ["x"], {"a": 1}, {"": ""}),
)
"""Values of every kind and size, to stand where another one belongs."""


class PromiseError(AssertionError):
    """A parser broke a promise that holds for any input."""


@contextmanager
def held(
    data: bytes,
    *allowed: type[PullError],
    secret: bool = False,
    steps: tuple[int, int] = (20_000, 100),
    memory: tuple[int, int] = (8 * MIB, 200),
) -> Iterator[None]:
    """Hold what runs inside to the promises for an input `data`.

    It ends well or with one of the errors `allowed`, whose message is one printable line (without
    the SECRET, if the input says it only where it is one). It takes no more calls of functions
    than `steps`, and no more bytes than `memory`: a number, and so many for each byte of input.
    """
    with _at_most(steps[0] + steps[1] * len(data)), _within(memory[0] + memory[1] * len(data)):
        try:
            yield
        except allowed as error:
            refused: PullError | None = error
        else:
            refused = None
    if refused is not None:
        check_message(str(refused), secret=secret)


def check_message(text: str, *, secret: bool = False) -> None:
    """An error is for a log: one line, not endless, and nothing in it that is secret."""
    if not text.isprintable() or len(text) > LONGEST_MESSAGE:
        raise PromiseError(f"an error isn't one printable line: {text!r}")
    if secret and SECRET in text:
        raise PromiseError(f"an error tells a secret: {text!r}")


@contextmanager
def _at_most(steps: int) -> Iterator[None]:
    left = steps * slack

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            sys.setprofile(None)
            raise PromiseError(f"more than {steps} steps")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
    if left < 0:
        raise PromiseError(f"more than {steps} steps")


@contextmanager
def _within(most: int) -> Iterator[None]:
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        if ours:
            tracemalloc.stop()
    if peak > most:
        raise PromiseError(f"{peak} bytes of memory: more than {most}")


@dataclass(frozen=True)
class Fuzzer:
    """One module `fuzz_*.py`."""

    name: str
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    run: Callable[[bytes], None]


def names() -> list[str]:
    """The fuzzers there are."""
    here = Path(__file__).parent
    return sorted(path.stem.removeprefix("fuzz_") for path in here.glob("fuzz_*.py"))


def fuzzer(name: str) -> Fuzzer:
    """The fuzzer of that name."""
    module = importlib.import_module(f"fuzz_{name}")
    return Fuzzer(name, module.SEEDS, module.WORDS, module.fuzz_one)


# Inputs.


def odd_documents(document: Any) -> Iterator[bytes]:
    """`document` as JSON, and with each of its values in turn replaced by each odd one."""
    yield json.dumps(document).encode()
    for odd in odd_values(document):
        yield json.dumps(odd).encode()


def odd_values(document: Any, odd: Sequence[Any] = ODD) -> Iterator[Any]:
    """`document` with one value left out, or replaced by an odd one: all there are."""
    for path in _paths(document):
        for value in (*odd, ...):
            changed = copy.deepcopy(document)
            inside = changed
            for key in path[:-1]:
                inside = inside[key]
            if value is ...:
                del inside[path[-1]]
            else:
                inside[path[-1]] = value
            yield changed


def deep_documents(before: str, after: str) -> Iterator[bytes]:
    """Lists in lists, and objects in objects, between two halves of a document."""
    for depth in DEEP:
        yield f"{before}{'[' * depth}{']' * depth}{after}".encode()
        opened = '{"a":' * depth
        yield f"{before}{opened}1{'}' * depth}{after}".encode()


def _paths(document: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    found = document if isinstance(document, dict) else ()
    for key in range(len(document)) if isinstance(document, list) else found:
        yield (*above, key)
        yield from _paths(document[key], (*above, key))


def mutations(of: Fuzzer, number: int) -> Iterator[bytes]:
    """So many inputs near the seeds, the same each time."""
    chance = random.Random(of.name)
    for _ in range(number):
        data = bytearray(chance.choice(of.seeds))
        for _ in range(chance.randint(1, 4)):
            _mutate(data, of, chance)
        yield bytes(data)


def _mutate(data: bytearray, of: Fuzzer, chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    to = min(len(data), at + chance.choice((1, 1, 2, 8, 64, 512)))
    kind = chance.randrange(7)
    if kind == 0:
        del data[at:to]
    elif kind == 1:
        data[at:at] = data[at:to]
    elif kind == 2:
        data[at:at] = chance.choice(of.words)
    elif kind == 3:
        word = chance.choice(of.words)
        data[at : at + len(word)] = word
    elif kind == 4 and at < len(data):
        data[at] = chance.randrange(256)
    elif kind == 5 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 6:
        other = chance.choice(of.seeds)
        data[at:] = other[chance.randint(0, len(other)) :]
