"""Pullers that can't be judged, of all four kinds: one line that says why, and status 10."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HEAD = """
version = 1
name = "hostile"
roles = ["resolve", "copy"]
evidence = ["layout", "status"]
longest_timeout_s = 1
"""
COMMAND = (
    'kind = "command"\n[command]\npull = %s\n[layout]\nform = "oci"\npath = "{store}/layout"\n'
)
COMMAND += "[options.plain-http]\n"
WRAPPER = 'kind = "wrapper"\n[wrapper]\nargv = ["python3", "{here}/puller.py"]\n'
DESCRIBED = (
    "import json, os, sys, time\n"
    "q = json.load(sys.stdin)\n"
    "op = q['operation']\n"
    "def say(**m): print(json.dumps({'version': 1, **m})); sys.exit()\n"
    "if op == 'describe': say(answer='described', name='x', puller_version='1', roles=['copy'],"
    " evidence=['layout'], features=[])\n"
    "if op == 'no-such-operation': say(answer='unsupported', feature=op)\n"
)
PYTHON = 'kind = "python"\n[python]\nentry = "puller:pull"\n'
CRI = 'kind = "cri"\n[cri]\nsocket = "{socket}"\n[options.plain-http]\n'
CRI += '[daemon]\nsocket = "{dir}/s"\nready_s = 1\nargv = %s\n'


def judged(folder: Path, profile: str, program: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "mine.toml").write_text(HEAD + profile)
    (folder / "puller.py").write_text(program)
    return subprocess.run(
        [sys.executable, "-m", "conformance", "run", "--puller", "mine.toml", "-c", "blob/intact*"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("profile", "program", "words"),
    [
        pytest.param(
            COMMAND % '["/no/such/program"]', "", "is not a program", id="command-missing"
        ),
        pytest.param(COMMAND % '["true"]', "", "arrives wrong", id="command-does-nothing"),
        pytest.param(COMMAND % '["false"]', "", "isn't pulled: failed", id="command-refuses-all"),
        pytest.param(COMMAND % '["sh", "-c", "kill -9 $$"]', "", "crashed", id="command-dies"),
        pytest.param(COMMAND % '["sleep", "60"]', "", "isn't pulled: hung", id="command-hangs"),
        pytest.param(
            COMMAND % '["sh", "-c", "echo x > {store}/../../outside/here"]',
            "",
            "arrives wrong",
            id="command-escapes-without-pulling",
        ),
        pytest.param(
            COMMAND.replace("[options.plain-http]\n", "") % '["true"]',
            "",
            "can't be given: plain-http; the handshake needs that",
            id="command-knows-no-http",
        ),
        pytest.param(WRAPPER.replace("python3", "no-such"), "", "no-such", id="wrapper-missing"),
        pytest.param(WRAPPER, "", "wrote no JSON object but ''", id="wrapper-does-nothing"),
        pytest.param(WRAPPER, "print('garbage')", "but 'garbage'", id="wrapper-garbage"),
        pytest.param(WRAPPER, "print('x' * 10**7)", "wrote no JSON", id="wrapper-much-garbage"),
        pytest.param(WRAPPER, "1 / 0", "status 1 instead of an answer", id="wrapper-traceback"),
        pytest.param(
            WRAPPER,
            DESCRIBED.replace("'no-such-operation'", "'nothing'"),
            "wrote no JSON object",
            id="wrapper-silent-about-the-unknown",
        ),
        pytest.param(
            WRAPPER,
            DESCRIBED.replace("'no-such-operation'", "'nothing'") + "say(answer='pulled')",
            "answered 'pulled', expected unsupported",
            id="wrapper-pulls-whatever-is-asked",
        ),
        pytest.param(
            WRAPPER, DESCRIBED + "say(answer='pulled')", "arrives wrong", id="wrapper-lies"
        ),
        pytest.param(
            WRAPPER, DESCRIBED + "time.sleep(60)", "isn't pulled: hung", id="wrapper-hangs"
        ),
        pytest.param(
            WRAPPER, DESCRIBED + "print('so far')", "wrote no JSON", id="wrapper-garbage-later"
        ),
        pytest.param(PYTHON, "pull = 3", "can't be judged", id="python-not-callable"),
        pytest.param(PYTHON, "import nothing_of_the_kind", "No module named", id="python-import"),
        pytest.param(PYTHON, "def pull(r): return None", "arrives wrong", id="python-does-nothing"),
        pytest.param(PYTHON, "def pull(r): return 'x'", "crashed: ValueError", id="python-garbage"),
        pytest.param(PYTHON, "import time\ndef pull(r): time.sleep(60)", "hung", id="python-hangs"),
        pytest.param(
            PYTHON, "import os\ndef pull(r): os._exit(0)", "can't be judged", id="python-leaves"
        ),
        pytest.param(CRI % '["/no/such/daemon"]', "", "is not a program", id="cri-missing"),
        pytest.param(CRI % '["true"]', "", "ended while it started", id="cri-ends"),
        pytest.param(CRI % '["sleep", "60"]', "", "isn't ready after 1 s", id="cri-never-ready"),
    ],
)
def test_one_line_says_why(tmp_path: Path, profile: str, program: str, words: str) -> None:
    done = judged(tmp_path, profile, program)

    assert done.returncode == 10, done.stdout + done.stderr
    assert words in done.stderr
    assert "hostile" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert len(done.stderr) < 400
    document = json.loads((tmp_path / "build/conformance/hostile/results.json").read_text())
    assert document["footer"]["complete"] is False
    assert document["footer"]["reason"].startswith("not judged: ")


def test_one_that_writes_beside_its_folders_isnt_judged(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from thirty_lines import Refused, pull as good\n"
        "def pull(request):\n"
        "    (request.store / '../../outside/here').write_text('x')\n"
        "    return good(request)\n"
    )
    (tmp_path / "thirty_lines.py").write_text((HERE / "thirty_lines.py").read_text())
    profile = PYTHON + 'refusals = ["thirty_lines:Refused"]\n'

    done = judged(tmp_path, profile, program)

    assert done.returncode == 10, done.stdout + done.stderr
    assert "by a good image it wrote outside/here" in done.stderr


def test_one_that_takes_any_tag_isnt_judged(tmp_path: Path) -> None:
    program = (
        "from thirty_lines import pull as good\n"
        "def pull(request):\n"
        "    return None if 'nothing:here' in request.image else good(request)\n"
    )
    (tmp_path / "thirty_lines.py").write_text((HERE / "thirty_lines.py").read_text())

    done = judged(tmp_path, PYTHON, program)

    assert done.returncode == 10
    assert "a tag that doesn't exist isn't refused: pulled" in done.stderr
