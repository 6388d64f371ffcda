"""Bundles: what another person gets, and that it can be seen again from what stands in them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_pullproof import HERE, PROFILE

from conformance.plan import Plan

ODD = """
[incident]
title = "odd"
right = "It is refused."

[[image]]
layers = 1

[[rule]]
on = "blob"
layer = 0
flip_byte = 40

[pull]

[expect]
outcome = "refused"
"""


def pullproof(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE), "THIRTY_LINES": "trusting"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def again(text: str) -> list[str]:
    found = re.search(r"^(?:  again +)?pullproof (run .*)$", text, re.MULTILINE)
    assert found is not None
    return shlex.split(found[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(PROFILE)
    (tmp_path / "odd.toml").write_text(ODD)
    return tmp_path


def test_a_case_in_code(folder: Path) -> None:
    pullproof(folder, "run", "--puller", "mine.toml", "--case", "blob/corrupted*", "--seed", "s7")

    bundle = folder / "build/conformance/thirty/bundles/blob--corrupted-is-refused"
    assert {path.name for path in bundle.iterdir()} == {
        *("README.md", "argv.json", "case.json", "case.py", "exchanges.har", "stderr.txt")
    }
    text = (bundle / "README.md").read_text()
    for words in (
        "# blob/corrupted-is-refused",
        "requirement BLOB-02",
        "flip_byte(-40)",
        "claimed success",
        "This case is code",
    ):
        assert words in text
    assert '@case("blob/corrupted-is-refused"' in (bundle / "case.py").read_text()
    har = json.loads((bundle / "exchanges.har").read_text())
    assert len(har["log"]["entries"]) == len(
        json.loads((bundle / "case.json").read_text())["exchanges"]
    )
    assert again(text)[-2:] == ["--seed", "s7"]

    once_more = pullproof(folder, *again(text))

    assert once_more.returncode == 1
    assert "FAIL blob/corrupted-is-refused  (wrong-content)" in once_more.stdout


def test_a_users_scenario(folder: Path) -> None:
    done = pullproof(folder, "run", "--puller", "mine.toml", "--scenario", "odd.toml")

    bundle = folder / "build/conformance/thirty/bundles/incident--odd"
    assert (bundle / "scenario.toml").read_text() == ODD
    assert not (bundle / "case.py").exists()
    text = (bundle / "README.md").read_text()
    assert "fakeregistry serve scenario.toml" in text
    assert again(text)[3:5] == ["--scenario", "odd.toml"]
    assert again(done.stdout) == again(text)

    once_more = pullproof(folder, *again(text))

    assert once_more.returncode == 1
    assert "FAIL incident/odd" in once_more.stdout
    served = subprocess.run(
        [sys.executable, "-m", "fakeregistry", "check", "scenario.toml"],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
    )
    assert served.returncode == 0, served.stderr


def test_no_path_and_no_port_of_this_machine(folder: Path) -> None:
    pullproof(folder, "run", "--puller", "mine.toml", "--scenario", "odd.toml", "--bundles")

    for path in (folder / "build/conformance/thirty/bundles").rglob("*"):
        if path.is_file() and path.suffix != ".har":
            text = path.read_text()
            assert str(folder) not in text, path
            assert "127.0.0.1:" not in text, path


def test_what_a_shell_would_take_apart_is_quoted() -> None:
    plan = Plan(puller="my puller.toml", seed="s", cases=[], out="")

    assert plan.again("blob/x") == "pullproof run --puller 'my puller.toml' --case blob/x --seed s"
