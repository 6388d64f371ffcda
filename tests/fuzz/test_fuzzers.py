"""Every parser of the reference keeps its promises: on the seeds, and on mutations of them.

`nox -s fuzz` runs the same fuzzers guided by coverage, for as many inputs as it is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import pytest
from harness import SECRET, PromiseError, fuzzer, held, mutations, names

from fakeregistry import Fifo
from fakeregistry.content import tar_bytes
from reference.errors import LayerError
from reference.files import FileMaker
from reference.tar import Entry

SEEDS, MUTATIONS = 60, 60


@pytest.mark.parametrize("name", names())
def test_the_seeds_are_read_or_refused(name: str) -> None:
    found = fuzzer(name)
    step = -(-len(found.seeds) // SEEDS)
    for data in found.seeds[::step]:
        found.run(data)


@pytest.mark.parametrize("name", names())
def test_mutations_are_read_or_refused(name: str) -> None:
    for data in mutations(found := fuzzer(name), MUTATIONS):
        found.run(data)


def endless() -> None:
    for _ in range(10_000):
        len("")


def greedy() -> None:
    assert bytearray(100_000)


def two_lines() -> None:
    error = LayerError("")
    error.args = ("a\nb",)
    raise error


def told() -> None:
    raise LayerError(f"no {SECRET}")


def other() -> None:
    raise ValueError


@pytest.mark.parametrize("parser", [endless, greedy, two_lines, told, other])
def test_a_promise_that_is_broken_is_seen(parser: Callable[[], None]) -> None:
    with pytest.raises((PromiseError, ValueError)):
        with held(b"", LayerError, secret=True, steps=(5000, 0), memory=(50_000, 0)):
            parser()


def test_a_way_out_of_the_root_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: FileMaker, entry: Entry, path: bytes) -> None:
        with suppress(OSError):
            os.mkdir(b"../beside/" + path.rpartition(b"/")[2], dir_fd=self.root._top)

    monkeypatch.setattr(FileMaker, "make_special", careless)
    with pytest.raises(PromiseError, match="a path to follow"):
        fuzzer("layers").run(b"\1" + tar_bytes([Fifo("x")]))
