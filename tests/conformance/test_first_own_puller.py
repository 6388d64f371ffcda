"""The newcomer's guide does what it says: its script, its profile and its commands are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[2] / "docs" / "first-own-puller.md").read_text()
CASE = "blob/path-in-a-digest-is-not-requested"


def blocks(language: str) -> list[str]:
    """The fenced blocks of the guide in that language, in order."""
    found: list[str] = []
    inside: str | None = None
    for line in GUIDE.splitlines(keepends=True):
        if not line.startswith("```"):
            if inside == language:
                found[-1] += line
        elif inside is not None:
            inside = None
        else:
            inside = line[3:].strip()
            if inside == language:
                found.append("")
    return found


def pullproof(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "run", "--puller", "./mypuller.toml", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 10 and "private network" in done.stderr:
        pytest.skip(done.stderr.strip())
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mypuller.py").write_text(blocks("python")[0])
    (tmp_path / "mypuller.toml").write_text(blocks("toml")[0])
    return tmp_path


def lasting(text: str) -> list[str]:
    """The lines of a case's block, without what is another one each time: times and folders."""
    text = re.sub(r"\d+ ms|in \d\.\d+ s|seconds: \d\.\d+", "", text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("argv ")]


def assert_shown(block: str, output: str) -> None:
    wanted = lasting(block)
    found = lasting(output)
    assert wanted
    assert [line for line in wanted if line not in found] == []


def test_a_finding_a_mend_and_a_ledger(folder: Path) -> None:
    shown = next(block for block in blocks("console") if "\nFAIL " in block)
    command, _, pasted = shown.partition("\n")
    assert command == f"$ pullproof run --puller ./mypuller.toml --case {CASE} --seed 7f3a1c22"
    one = ("--case", CASE, "--seed", "7f3a1c22")

    before = pullproof(folder, *one)

    assert before.returncode == 1, before.stdout + before.stderr
    assert_shown(pasted, before.stdout)

    script = folder / "mypuller.py"
    wrong = script.read_text()
    old = re.search(r"^def get\(.*?\n\n", wrong, re.DOTALL | re.MULTILINE)
    assert old is not None
    script.write_text("import re\n" + wrong.replace(old[0], blocks("python")[1] + "\n"))
    after = pullproof(folder, *one)

    assert after.returncode == 0, after.stdout + after.stderr
    assert_shown(next(block for block in blocks("") if "\n  neighbour" in block), after.stdout)

    (folder / "mypuller.ledger.toml").write_text(blocks("toml")[1])
    known = pullproof(folder, "--case", "names/dot-dot*")

    assert known.returncode == 0, known.stdout + known.stderr
    assert "known by the ledger: 1" in known.stdout


def test_it_is_judged_by_more_than_one_case(folder: Path) -> None:
    done = pullproof(folder, "--case", "blob/*", "--seed", "7f3a1c22")

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^mypuller 0\.1: \d+ pass, \d+ fail, ", done.stdout, re.MULTILINE)
