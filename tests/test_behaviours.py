"""docs/behaviours.md: every row once, with a proof that names it, and every id used is one of them.

The rule: a test file proves a row that one of its test functions names, parameters and decorators
included; a case proves a row that it covers, or whose requirement is split off from it by a letter
(``MAN-20b`` belongs to ``MAN-20``).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from conformance.plan import all_cases
from conformance.requirements import load

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs/behaviours.md"
LAST = (
    "REF-18 PA-16 AUTH-37 TLS-24 HOST-42 NET-22 MAN-36 IDX-21 BLOB-43 CONC-13 PROG-22 CANC-08 "
    "S1-23 LAYER-37 IMG-20 ANN-10 ENC-09 MISC-16 Q-35"
)
TOPICS = {name: int(last) for name, last in (each.split("-") for each in LAST.split())}
"""How many rows each topic has, numbered from 1."""
UNPROVEN = {
    "LAYER-36": "there is no such option",
    "IMG-13": "blobs have no labels",
    "IMG-14": "blobs have no labels",
    "MISC-09": "there are no metrics",
    "MISC-10": "there are no verifiers",
    "MISC-11": "there are no verifiers",
    "MISC-12": "there is no second way to pull",
    "Q-16": "it is about the seed's source: nothing shows outside",
    "Q-21": "it is about the seed's source: nothing shows outside",
}
"""Rows of what isn't there, and why nothing could be tested."""
ID = re.compile(rf"(?<![\w-])({'|'.join(TOPICS)})-(\d\d)[a-z]?(?![\w-])")
ROW = re.compile(r"\| (?P<id>[A-Z0-9]+-\d\d) \| (?P<text>[^|]+) \| (?P<proofs>[^|]*) \|")


def row_of(name: str) -> str:
    """The row that an id belongs to: itself without its letter."""
    return name.rstrip("abcdefghijklmnopqrstuvwxyz")


@cache
def rows() -> list[re.Match[str]]:
    return [match for line in TABLE.read_text().splitlines() if (match := ROW.fullmatch(line))]


@cache
def files() -> dict[str, Path]:
    """Every test file by its name, which is its own throughout the tree."""
    return {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}


@cache
def named_in(path: Path) -> set[str]:
    """The rows that the test functions of a file name."""
    source = path.read_text()
    lines = source.splitlines()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            text = "\n".join(lines[first - 1 : node.end_lineno])
            found |= {row_of(match[0]) for match in ID.finditer(text)}
    return found


@cache
def covered() -> dict[str, set[str]]:
    """The rows of each case."""
    return {name: set(map(row_of, case.covers)) for name, case in all_cases().items()}


def test_every_row_is_there_once() -> None:
    wanted = [f"{topic}-{n:02}" for topic, last in TOPICS.items() for n in range(1, last + 1)]
    assert [row["id"] for row in rows()] == wanted
    # Nothing that looks like a row is passed over.
    assert TABLE.read_text().count("\n| ") == len(wanted) + len(TOPICS)
    assert [row["id"] for row in rows() if not row["text"].endswith(".")] == []
    assert [n for n, often in Counter(row["text"] for row in rows()).items() if often > 1] == []


@pytest.mark.parametrize("topic", TOPICS)
def test_each_proof_is_there_and_names_its_row(topic: str) -> None:
    wrong = []
    for row in rows():
        proofs = re.findall("`([^`]+)`", row["proofs"])
        if not row["id"].startswith(f"{topic}-"):
            continue
        if bool(proofs) == (row["id"] in UNPROVEN):
            wrong.append(f"{row['id']} has {len(proofs)} proofs")
        for proof in proofs:
            named = named_in(files()[proof]) if proof in files() else covered().get(proof, set())
            if row["id"] not in named:
                wrong.append(f"{proof} doesn't name {row['id']}")
    assert wrong == []


def test_every_id_in_use_is_a_row_or_a_requirement() -> None:
    known = {row["id"] for row in rows()} | load().keys()
    folders = ("conformance", "docs", "fakeregistry", "fixtures", "reference", "tests")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    unknown = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in [*texts, ROOT / "README.md", ROOT / "CHANGELOG.md"]
        if path.suffix in (".py", ".toml", ".md")
        for match in ID.finditer(path.read_text())
        if match[0] not in known and row_of(match[0]) not in known
    }
    assert unknown == set()
