"""`pullproof` from the outside: one process, one puller of thirty lines, exit statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
PROFILE = """
version = 1
name = "thirty"
kind = "python"
roles = ["resolve", "copy"]
evidence = ["layout", "status"]
longest_timeout_s = 5

[python]
entry = "thirty_lines:pull"
refusals = ["thirty_lines:Refused"]
inputs = ["plain-http"]
"""


# Three cases that a puller of thirty lines passes, whatever else is asked of better ones.
THREE = ("--case", "blob/intact*", "--case", "blob/corrupted-is*", "--case", "blob/cut-short-is*")


def pullproof(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def profile(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text(PROFILE)
    return "mine.toml"


def results(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        (folder / "build/conformance/thirty/results.json").read_text()
    )
    schema = json.loads((files("conformance") / "schemas/results.schema.json").read_text())
    Draft202012Validator(schema).validate(document)
    return document


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {record["case"]: record["verdict"] for record in document["records"]}


def test_a_right_puller_passes(tmp_path: Path, profile: str) -> None:
    done = pullproof(tmp_path, "run", "--puller", profile, *THREE, "--seed", "abc")

    assert done.returncode == 0, done.stdout + done.stderr
    document = results(tmp_path)
    assert document["header"]["seed"] == "abc"
    assert document["footer"]["complete"]
    assert verdicts(document)["blob/corrupted-is-refused"] == "pass"
    assert "seed abc" in done.stdout


def test_a_wrong_puller_fails_with_a_block_to_act_on(tmp_path: Path, profile: str) -> None:
    done = pullproof(
        tmp_path,
        *("run", "--puller", profile, *THREE, "-n", "2"),
        THIRTY_LINES="trusting",
    )

    assert done.returncode == 1, done.stdout + done.stderr
    document = results(tmp_path)
    assert verdicts(document)["blob/corrupted-is-refused"] == "fail"
    assert "FAIL blob/corrupted-is-refused  (wrong-content)" in done.stdout
    assert "BLOB-02: " in done.stdout
    assert "flip_byte(-40)" in done.stdout
    again = f"pullproof run --puller {profile} --case blob/corrupted-is-refused --seed "
    assert again + document["header"]["seed"] in done.stdout
    bundle = tmp_path / "build/conformance/thirty/bundles/blob--corrupted-is-refused"
    assert (bundle / "exchanges.har").is_file()
    assert (bundle / "case.json").is_file()
    assert "127.0.0.1" not in (bundle / "case.json").read_text()


def test_the_ledger_beside_a_profile_is_read(tmp_path: Path, profile: str) -> None:
    (tmp_path / "mine.ledger.toml").write_text(
        '[[entry]]\ncase = "blob/corrupted-is-refused"\nverdict = "fail"\n'
        'kind = "wrong-content"\nreason = "it trusts"\ndate = 2026-11-24\n'
    )
    run = ("run", "--puller", profile, "--case", "blob/corrupted-is-refused")

    known = pullproof(tmp_path, *run, THIRTY_LINES="trusting")
    stale = pullproof(tmp_path, *run)

    assert known.returncode == 0, known.stdout
    assert stale.returncode == 1
    assert "stale: recorded as fail wrong-content: it trusts" in stale.stdout


def test_one_case_is_shown_in_full(tmp_path: Path, profile: str) -> None:
    done = pullproof(tmp_path, "run", "--puller", profile, "--case", "blob/intact-image-is-pulled")

    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "pull 1: origin/app/web:v1",
        "plain_http: True",
        "outcome: pulled",
        "timeline",
        "GET /v2/app/web/",
    ):
        assert words in done.stdout


def test_a_puller_that_crashes_at_once_isnt_judged(tmp_path: Path, profile: str) -> None:
    done = pullproof(tmp_path, "run", "--puller", profile, THIRTY_LINES="crash")

    assert done.returncode == 10
    assert len(done.stderr.splitlines()) == 1
    assert "thirty can't be judged" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("run", "--case", "blob/corupted-is-refused"), 4, "did you mean"),
        (("run", "--puller", "referense"), 4, "did you mean reference?"),
        (("run", "--puller", "none.toml"), 4, "none.toml can't be read"),
        (("run", "--seed", "a b"), 4, "not a seed"),
        (("run", "--out", "/dev/null/x"), 4, "can't write to /dev/null/x: Not a directory; --out"),
        (("run", "--junit", "/dev/null/x/y.xml"), 4, "--junit says where to"),
        (("pullers", "skopoe"), 4, "did you mean skopeo?"),
        (("pullers", "--case", "blob/corupted-is-refused"), 4, "did you mean"),
        (("matrix", "."), 4, "no results.json is there"),
        (("list", "--level", "MUTS"), 4, "did you mean 'MUST'?"),
        (("run", "--scenario", "none.toml"), 4, "none.toml"),
        (("mutants", "no-digest-chek"), 4, "did you mean 'no-digest-check'"),
        (("matrix", "none.json"), 4, "none.json"),
    ],
)
def test_mistakes_get_one_line(
    arguments: tuple[str, ...], status: int, words: str, tmp_path: Path
) -> None:
    done = pullproof(tmp_path, *arguments)

    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_scenario_with_several_mistakes_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text("[incidnt]\n")

    done = pullproof(tmp_path, "run", "--scenario", "odd.toml")

    assert done.returncode == 4
    assert "odd.toml:1: unknown key 'incidnt'" in done.stderr
    assert "(1 more: `fakeregistry check odd.toml`)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_list_for_scripts(tmp_path: Path) -> None:
    done = pullproof(tmp_path, "list", "--json", "--case", "blob/*")

    first = json.loads(done.stdout)[0]
    assert first["id"] == "blob/intact-image-is-pulled"
    assert first["requirements"] == ["BLOB-01"]
    for key in ("level", "role", "authority", "evidence", "capabilities"):
        assert key in first


def test_the_matrix_of_results(tmp_path: Path, profile: str) -> None:
    pullproof(tmp_path, "run", "--puller", profile, "--case", "blob/intact*")
    path = "build/conformance/thirty/results.json"

    done = pullproof(tmp_path, "matrix", path, path)

    assert done.returncode == 0
    row = next(line for line in done.stdout.splitlines() if "intact-image" in line)
    assert row.split()[1:] == ["pass", "pass"]
    folder = pullproof(tmp_path, "matrix", "build/conformance", "--markdown")
    assert "| `blob/intact-image-is-pulled` | pass |" in folder.stdout


def test_several_pullers_end_in_a_matrix(tmp_path: Path, profile: str) -> None:
    (tmp_path / "lacks.toml").write_text(
        'version = 1\nname = "lacks"\nkind = "command"\nroles = ["copy"]\n'
        'evidence = ["status"]\n'
        'get = "apt-get install lacks"\n\n[find]\nlacks = ["no-such-program"]\n\n'
        '[probe]\nargv = ["{lacks}", "--version"]\npattern = "(.*)"\n\n'
        '[command]\npull = ["{lacks}", "{image}"]\n'
    )

    done = pullproof(tmp_path, "pullers", profile, "lacks.toml", "--case", "blob/intact*")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "apt-get install lacks" in done.stderr
    assert "not judged: lacks.toml" in done.stdout
    assert "case" in done.stdout
    assert ["intact-image-is-pulled", "pass"] in [row.split() for row in done.stdout.splitlines()]


@pytest.mark.parametrize("jobs", ["0", "2"])
def test_junit_says_what_the_run_says(tmp_path: Path, profile: str, jobs: str) -> None:
    (tmp_path / "mine.ledger.toml").write_text(
        '[[entry]]\ncase = "blob/corrupted-is-refused"\nverdict = "fail"\n'
        'kind = "wrong-content"\nreason = "it trusts"\ndate = 2026-11-24\n'
    )
    done = pullproof(
        tmp_path,
        *(
            "run",
            "--puller",
            profile,
            *THREE,
            "--case",
            "auth/basic*",
            "--case",
            "incident/blob-st*",
        ),
        *("--junit", "new/junit.xml", "-n", jobs),
        THIRTY_LINES="trusting",
    )

    suite = ElementTree.parse(tmp_path / "new/junit.xml").getroot()[0]
    tests = {f"{each.get('classname')}::{each.get('name')}": each for each in suite}
    assert suite.get("name") == "pullproof thirty"
    assert len(tests) == len(suite) == len(results(tmp_path)["records"])
    assert len(tests["pullproof.blob::intact-image-is-pulled"]) == 1
    known = tests["pullproof.blob::corrupted-is-refused"]
    properties = {each.get("name"): each.get("value") for each in known.iter("property")}
    assert properties["id"] == "blob/corrupted-is-refused"
    assert properties["requirement"] == "BLOB-02"
    assert properties["level"] == "MUST"
    assert (properties["verdict"], properties["standing"]) == ("fail", "known")
    skipped = known.find("skipped")
    assert skipped is not None
    assert "it trusts" in str(skipped.get("message"))
    assert tests["pullproof.incident::blob-stalls"].find("skipped") is not None
    assert tests["pullproof.auth::secrets-stay-with-their-hosts"].find("failure") is None
    red = {name for name, test in tests.items() if test.find("failure") is not None}
    failures = {r["case"] for r in results(tmp_path)["records"] if r.get("standing") == "new"}
    gating = {r["case"] for r in results(tmp_path)["records"] if r["verdict"] in ("fail", "error")}
    assert {name.removeprefix("pullproof.").replace("::", "/") for name in red} == failures & gating
    assert done.returncode == (1 if red else 0)


def test_a_users_own_scenario_is_a_case(tmp_path: Path, profile: str) -> None:
    (tmp_path / "odd.toml").write_text(
        '[incident]\ntitle = "odd"\nright = "It is refused."\n\n[[image]]\nlayers = 1\n\n'
        '[[rule]]\non = "blob"\nlayer = 0\nflip_byte = 40\n\n[pull]\n\n[expect]\n'
        'outcome = "refused"\n'
    )

    done = pullproof(tmp_path, "run", "--puller", profile, "--scenario", "odd.toml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts(results(tmp_path))["incident/odd"] == "pass"


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    fifo = tmp_path / "stuck.fifo"
    os.mkfifo(fifo)
    profile = PROFILE.replace("thirty_lines:pull", "stuck:pull")
    (tmp_path / "mine.toml").write_text(profile)
    # It says so once it hangs: in the first case, after the two pulls of the handshake.
    (tmp_path / "stuck.py").write_text(
        "import os, signal\n"
        "from thirty_lines import Refused, pull as good\n"
        "def pull(request):\n"
        "    if 'nothing:here' not in request.image and 'h0' not in str(request.store):\n"
        "        open(os.environ['STUCK'], 'w').close()\n"
        "        signal.pause()\n"
        "    return good(request)\n"
    )
    path = f"{HERE}{os.pathsep}{tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-m", "conformance", "run", "--puller", "mine.toml", "--case", "blob/*"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "STUCK": str(fifo)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    fifo.read_bytes()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 2, output + errors
    assert "Traceback" not in output + errors
    assert "INCOMPLETE: interrupted" in output
    document = results(tmp_path)
    assert not document["footer"]["complete"]
    assert document["footer"]["reason"] == "interrupted"
