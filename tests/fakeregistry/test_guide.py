"""docs/script-the-registry.md: its table is the vocabulary, and every example in it runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fakeregistry.faults import FAULTS, ROOMS
from fakeregistry.rules.rule import Rule
from fakeregistry.scenario import load
from fakeregistry.scenario.model import TARGETS, WINDOWS
from fakeregistry.scenario.schema import schema
from fakeregistry.serve.cli import main

GUIDE = (Path(__file__).parents[2] / "docs" / "script-the-registry.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # The console commands stand beside this interpreter.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_table_of_faults_is_the_vocabulary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--markdown"]) == 0
    table = capsys.readouterr().out

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(FAULTS)
    assert re.findall(r"^\*\*(.*)\*\*$", table, re.MULTILINE) == list(ROOMS)
    assert table in GUIDE


def test_the_list_of_faults_names_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults"]) == 0
    said = capsys.readouterr().out.splitlines()

    named = [line.split()[0] for line in said if line and not line.startswith((" ", "#"))]
    assert named == list(FAULTS)


def test_every_fault_is_a_method_of_a_rule_too() -> None:
    assert all(callable(getattr(Rule, name)) for name in FAULTS)


def test_every_key_of_a_scenario_is_named() -> None:
    rows = dict(re.findall(r"^\| `\[+([a-z.]+)\]+` \| (.*) \|$", GUIDE, re.MULTILINE))
    tables = schema()["$defs"]
    # `[[image.layer]]` is the table `layer`, `[[pull.hosts]]` are tables `host`.
    names = {row: {"hosts": "host"}.get(row.split(".")[-1], row.split(".")[-1]) for row in rows}
    assert set(names.values()) == set(tables)
    for row, table in names.items():
        said = rows[row] if table != "rule" else GUIDE
        missing = [key for key in tables[table]["properties"] if not re.search(rf"\b{key}\b", said)]
        assert missing == [], row
    assert all(f"`{word}`" in GUIDE for word in (*TARGETS, *WINDOWS))


def test_the_pytest_examples_pass(tmp_path: Path) -> None:
    (tmp_path / "test_examples.py").write_text("\n\n".join(blocks("python")))

    done = run(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")

    assert done.returncode == 0, done.stdout
    count = sum(block.count("\ndef test_") for block in map("\n".__add__, blocks("python")))
    assert f"{count} passed" in done.stdout


def test_the_scenario_is_sound(tmp_path: Path) -> None:
    text, steps, content, doors, *others = blocks("toml")
    (tmp_path / "doors.toml").write_text(doors)
    (tmp_path / "content.toml").write_text(content)
    (tmp_path / "world.toml").write_text(text)
    (tmp_path / "steps.toml").write_text(steps)

    scenario = load(tmp_path / "world.toml")

    assert [part.name for part in scenario.registries] == ["origin", "cdn"]
    assert len(scenario.rules) == 2
    assert len(load(tmp_path / "steps.toml").pulls) == 2
    assert [part.listening for part in load(tmp_path / "doors.toml").registries] == [
        "open",
        "blackhole",
    ]
    assert len(load(tmp_path / "content.toml").images[0].layers) == 2
    for number, other in enumerate(others):
        (tmp_path / f"{number}.toml").write_text(other)
        assert load(tmp_path / f"{number}.toml").images


def test_the_commands_run(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text(blocks("toml")[0])
    (commands, *_) = blocks("sh")

    done = run(tmp_path, "sh", "-eu", "-c", commands)

    assert (done.returncode, done.stderr) == (0, "")
    assert "world.toml: ok" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl isn't installed")
def test_the_shell_example_runs(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text("[[image]]\n")
    _, start, ask = blocks("sh")

    # Where a line fails, the registry in the background must not outlive the test.
    trap = "trap 'kill $! 2> /dev/null || :' EXIT"
    done = run(tmp_path, "sh", "-eu", "-c", f"{start}\n{trap}\n{ask}\nwait\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert '"words": "manifest sha256:' in done.stdout
    assert '"errors"' in done.stdout
    assert '"kind": "tag_manifest"' in done.stdout
    assert '"status": 503' in done.stdout


@pytest.mark.skipif(shutil.which("go") is None, reason="go isn't installed")
def test_the_go_example_passes(tmp_path: Path) -> None:
    (source,) = blocks("go")
    (tmp_path / "pull_test.go").write_text(source)
    (tmp_path / "go.mod").write_text("module example.test/pull\n\ngo 1.21\n")
    (tmp_path / "honest.toml").write_text("[[image]]\n")

    done = run(tmp_path, "go", "test", "-count=1", "./...")

    assert done.returncode == 0, done.stdout + done.stderr
