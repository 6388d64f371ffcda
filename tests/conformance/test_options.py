"""The command line's own mistakes: one line on stderr that says what and where, and status 4."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from conformance.options import parser, said

ROOT = Path(__file__).parents[2]
NAMES = ("run", "list", "mutants", "pullers", "matrix", "compare")


def nothing(_: argparse.Namespace) -> int:
    return 0


def parsed(*arguments: str) -> argparse.Namespace:
    return parser(dict.fromkeys(NAMES, nothing)).parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--level", "X"), "--level: no level 'X'; there are MAY, MUST, OBSERVE, SHOULD"),
        (("run", "--level", "MUTS"), "did you mean 'MUST'?"),
        (("run", "--seed", "a b"), "'a b' is not a seed"),
        (("run", "--seed", ""), "'' is not a seed"),
        (("run", "--seed", "x" * 65), "is not a seed"),
        (("run", "-n", "abc"), "-n: 'abc' is no number of processes: 0 to 64, or auto"),
        (("run", "-n", "-1"), "'-1' is no number"),
        (("run", "-n", "100000"), "'100000' is no number"),
        (("run", "--sed", "1"), "did you mean '--seed'?"),
        (("run", "--bogus"), "not understood: --bogus (`pullproof run --help` shows all)"),
        (("run", "reference"), "not understood: reference"),
        (("mutants", "-n", "-2"), "'-2' is no number"),
        (("mutants", "--seed", "a/b"), "'a/b' is not a seed"),
        (("pullers", "--level", "X"), "no level 'X'"),
        (("nonsense",), "there are run, list, mutants, pullers, matrix, compare"),
        (("rum",), "no command 'rum': did you mean 'run'?"),
        ((), "the following arguments are required: command"),
    ],
)
def test_each_is_one_line(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)

    written = capsys.readouterr()
    assert ended.value.code == 4
    assert written.out == ""
    assert words in written.err
    assert len(written.err.splitlines()) == 1


def test_what_is_forgiven() -> None:
    assert parsed("run", "--level", "must").level == "MUST"
    assert parsed("run", "-n", "auto").jobs >= 1
    assert parsed("run", "-n", "0").jobs == 0


def test_said_again_it_is_the_same() -> None:
    given: dict[str, Any] = vars(
        parsed("run", "-c", "a/*", "-c", "b", "--strict", "--out", "x", "--level", "MAY")
    )
    options = argparse.Namespace(**given)
    names = ("puller", "case", "level", "seed", "out", "strict", "bundles")

    again = said(options, *names)

    assert again == [
        *("--puller", "reference", "--case", "a/*", "--case", "b"),
        *("--level", "MAY", "--out", str(Path("x")), "--strict"),
    ]
    assert vars(parsed("run", *again)) == given


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_what_the_guides_show_can_be_typed(page: Path) -> None:
    for line in page.read_text("utf-8").splitlines():
        found = re.match(r"(?:\$ |- run: |\s+run: )pullproof ([a-z].*)", line)
        if found is not None:
            words = shlex.split(found[1].partition(" >>")[0], comments=True)
            assert parsed(*words), line
