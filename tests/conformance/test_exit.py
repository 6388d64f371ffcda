"""How a run ends: each exit status from the outside, and what stands in the results file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_pullproof import HERE, PROFILE, THREE

from conformance.ledger import Ledger
from conformance.results import Header, Record, Results
from conformance.running import Run, exit_status


def pullproof(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(HERE)]), **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def footer(folder: Path) -> dict[str, Any]:
    text = (folder / "build/conformance/thirty/results.json").read_text()
    found: dict[str, Any] = json.loads(text)["footer"]
    return found


@pytest.fixture
def profile(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text(PROFILE)
    return "mine.toml"


def a_puller_that(folder: Path, what: str) -> str:
    """A profile of a puller that does this in every case, and nothing of the kind before."""
    (folder / "odd.py").write_text(
        "import os, shutil, signal, sys\n"
        "from pathlib import Path\n"
        "from thirty_lines import Refused, pull as good\n"
        "def parent(pid):\n"
        "    text = Path(f'/proc/{pid}/status').read_text()\n"
        "    return int(text.partition('PPid:')[2].split()[0])\n"
        "def pull(request):\n"
        "    case = str(request.store).split('/stores/')[0].rsplit('/', 1)[1]\n"
        "    if not case.startswith('h'):\n"
        f"        {what}\n"
        "    return good(request)\n"
    )
    (folder / "odd.toml").write_text(PROFILE.replace("thirty_lines:pull", "odd:pull"))
    return "odd.toml"


def test_nothing_selected_is_5(tmp_path: Path, profile: str) -> None:
    done = pullproof(
        tmp_path, "run", "--puller", profile, "--case", "blob/intact*", "--level", "MAY"
    )

    assert done.returncode == 5
    assert done.stderr == "pullproof: no selected case has level MAY\n"
    several = pullproof(tmp_path, "pullers", profile, "--case", "blob/intact*", "--level", "MAY")
    assert several.returncode == 5


@pytest.mark.parametrize("jobs", ["0", "2"])
def test_a_run_whose_worker_dies_is_incomplete(tmp_path: Path, jobs: str) -> None:
    # The puller runs in a child of the fork server, which is a child of the worker.
    odd = a_puller_that(tmp_path, "os.kill(parent(os.getppid()), signal.SIGKILL)")

    done = pullproof(tmp_path, "run", "--puller", odd, *THREE, "-n", jobs)

    assert done.returncode == 11, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not footer(tmp_path)["complete"]
    if jobs == "0":
        assert done.stderr == "pullproof: the run was killed by SIGKILL: it has no verdict\n"
        assert footer(tmp_path)["reason"] == "the run has not ended"
    else:
        assert "cases have no record, blob/" in footer(tmp_path)["reason"]
        assert "INCOMPLETE: " in done.stdout


def test_results_that_cant_be_written_are_no_success(tmp_path: Path) -> None:
    # When the first case is played a folder takes the place of the file.
    path = tmp_path / "build/conformance/thirty/results.json"
    what = f"p = Path({str(path)!r}); p.is_file() and p.unlink(); p.mkdir(exist_ok=True)"
    odd = a_puller_that(tmp_path, what)

    done = pullproof(tmp_path, "run", "--puller", odd, "--case", "blob/intact*")

    assert done.returncode == 11, done.stdout + done.stderr
    assert "the results can't be written to build/conformance/thirty: Is a directory" in done.stderr
    assert "thirty: 2 pass" in done.stdout


def test_junit_that_cant_be_written_is_no_success(tmp_path: Path) -> None:
    what = f"Path({str(tmp_path / 'junit.xml')!r}).mkdir(exist_ok=True)"
    odd = a_puller_that(tmp_path, what)

    done = pullproof(
        tmp_path, "run", "--puller", odd, "--case", "blob/intact*", "--junit", "junit.xml"
    )

    assert done.returncode == 11, done.stdout + done.stderr
    assert "junit.xml can't be written: Is a directory" in done.stderr
    assert footer(tmp_path)["complete"]


def test_an_older_result_is_never_taken_for_this_run(tmp_path: Path, profile: str) -> None:
    assert pullproof(tmp_path, "run", "--puller", profile, *THREE).returncode == 0

    done = pullproof(tmp_path, "run", "--puller", profile, *THREE, THIRTY_LINES="crash")

    assert done.returncode == 10
    assert footer(tmp_path)["records"] == 0
    assert footer(tmp_path)["reason"].startswith("not judged: thirty can't be judged: ")


def test_a_wrong_ledger_is_a_mistake_of_the_user(tmp_path: Path, profile: str) -> None:
    (tmp_path / "mine.ledger.toml").write_text('[[entry]]\ncase = "blob/corrupted-is-refused"\n')

    done = pullproof(tmp_path, "run", "--puller", profile, *THREE)

    assert done.returncode == 4
    assert done.stderr == "pullproof: mine.ledger.toml, entry 1: 'verdict' is missing\n"


@pytest.mark.parametrize(
    ("record", "strict", "puller", "status"),
    [
        (Record("blob/x", "pass"), False, "mine", 0),
        (Record("blob/x", "fail", standing="new"), False, "mine", 1),
        (Record("blob/x", "fail", standing="known"), True, "mine", 0),
        (Record("blob/x", "fail", standing="news"), False, "mine", 1),
        (Record("blob/x", "pass", standing="stale"), False, "mine", 1),
        (Record("blob/x", "deviates", standing="new"), False, "mine", 0),
        (Record("blob/x", "deviates", standing="new"), True, "mine", 1),
        (Record("blob/x", "deviates", standing="news"), False, "mine", 1),
        (Record("blob/x", "differs"), True, "mine", 0),
        (Record("blob/x", "error"), False, "mine", 1),
        (Record("blob/x", "inconclusive", standing="new"), True, "mine", 0),
        (Record("blob/x", "inconclusive", standing="new"), False, "reference", 1),
        (Record("blob/x", "fail", standing="new", tentative=True), True, "mine", 0),
    ],
)
def test_what_gates(record: Record, strict: bool, puller: str, status: int) -> None:
    header = Header("1", "s", {"name": puller, "version": ""}, {}, "private")

    assert exit_status(Run(Results(header, [record]), Ledger()), strict=strict) == status
    lost = Run(Results(header, [record]), Ledger(), unwritten=True)
    assert exit_status(lost, strict=strict) == 11
    cut = Run(Results(header, [record], complete=False), Ledger())
    assert exit_status(cut, strict=strict) == 11
    interrupted = Run(Results(header, [record], complete=False), Ledger(), interrupted=True)
    assert exit_status(interrupted, strict=strict) == 2
