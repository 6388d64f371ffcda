"""Ctrl-C at any moment: status 2, no process, mount or folder left, results marked incomplete."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_pullproof import HERE, PROFILE

ROOT = Path(__file__).parents[2]
# It says that it is there by writing to a FIFO, and stays.
STUCK = """
import os, signal
from thirty_lines import Refused, pull as good

def pull(request):
    case = str(request.store).split('/stores/')[0].rsplit('/', 1)[1]
    if case.startswith(os.environ['STUCK_IN']):
        with open(os.environ['STUCK'], 'w') as told:
            told.write(case)
        signal.pause()
    return good(request)
"""


class Interrupted:
    """A run that is interrupted once its puller has said where it is."""

    def __init__(self, folder: Path, *arguments: str, **more: str) -> None:
        self.folder = folder
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        self.tag = f"PULLPROOF_TEST_OF={folder}"
        path = os.pathsep.join([str(folder), str(HERE)])
        name, _, value = self.tag.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "conformance", *arguments, "--out", str(folder / "out")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(self.tmp), name: value, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self, fifo: Path) -> str:
        """What the puller writes to the FIFO; fails where the run ends without a word of it."""
        # Open for writing too: to be opened it needs no writer then, and it has no end.
        with fifo.open("r+b", buffering=0) as pipe:
            pidfd = os.pidfd_open(self.process.pid)
            try:
                poll = select.poll()
                poll.register(pipe, select.POLLIN)
                poll.register(pidfd, select.POLLIN)
                ready = dict(poll.poll(60_000))
            finally:
                os.close(pidfd)
            if pipe.fileno() in ready:
                return pipe.read(100).decode()
        self.process.kill()
        pytest.fail("".join(self.process.communicate()))

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors

    def left(self) -> list[str]:
        """What it left: processes with its tag, mounts below its folder, files in its TMPDIR."""
        found = [str(path) for path in self.tmp.iterdir()]
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.tag.encode() in path.read_bytes().split(b"\0"):
                    found.append((path.parent / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return found + [line for line in mounts if str(self.tmp) in line]

    def footer(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "out/results.json").read_text())
        footer: dict[str, Any] = document["footer"]
        return footer


@pytest.mark.parametrize("jobs", ["0", "2"])
@pytest.mark.parametrize(("where", "records"), [("h", 0), ("c", 0)])
def test_in_the_handshake_and_in_a_case(
    tmp_path: Path, jobs: str, where: str, records: int
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "stuck.py").write_text(STUCK)
    # Longer than anybody would wait here: an interrupted run doesn't wait for its pullers.
    profile = PROFILE.replace("thirty_lines:pull", "stuck:pull").replace("_s = 5", "_s = 500")
    (tmp_path / "mine.toml").write_text(profile)
    run = Interrupted(
        tmp_path,
        *("run", "--puller", "mine.toml", "--case", "blob/c*", "-n", jobs),
        STUCK=str(fifo),
        STUCK_IN=where,
    )
    assert run.told(fifo).startswith(where)

    status, output, errors = run.end()

    assert status == 2, output + errors
    assert "Traceback" not in output + errors
    assert run.left() == []
    assert run.footer()["complete"] is False
    assert run.footer()["reason"] == "interrupted"
    assert run.footer()["records"] == records


@pytest.mark.parametrize("jobs", ["0", "2"])
def test_a_terminated_run_leaves_nothing_either(tmp_path: Path, jobs: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "mine.toml").write_text(PROFILE.replace("thirty_lines:pull", "stuck:pull"))
    run = Interrupted(
        tmp_path,
        *("run", "--puller", "mine.toml", "--case", "blob/c*", "-n", jobs),
        STUCK=str(fifo),
        STUCK_IN="c",
    )
    assert run.told(fifo).startswith("c")

    status, output, errors = run.end(signal.SIGTERM)

    assert status == 11, output + errors
    assert errors == "pullproof: the run was killed by SIGTERM: it has no verdict\n"
    assert run.left() == []
    assert run.footer()["reason"] == "the run has not ended"


@pytest.mark.parametrize("name", ["containerd-1.6-cri", "containerd-2-ctr"])
@pytest.mark.parametrize("jobs", ["0", "2"])
def test_daemons_end_with_the_run(tmp_path: Path, name: str, jobs: str) -> None:
    pullers = os.environ.get("PULLPROOF_PULLERS", str(ROOT / "build/pullers"))
    # A case whose registry stalls for ever says by the daemon's own folder that it is under way.
    run = Interrupted(
        tmp_path,
        *("run", "--puller", name, "--case", "blob/*", "--case", "incident/*", "-n", jobs),
        PULLPROOF_PULLERS=pullers,
    )
    first = run.process.stdout
    assert first is not None
    line = first.readline()
    if not line:
        pytest.skip(run.process.communicate(timeout=60)[1].strip())
    # One verdict is printed once a worker has a daemon: others are under way by then.
    mark = first.read(1)
    if not mark:
        pytest.skip(run.process.communicate(timeout=60)[1].strip())

    status, output, errors = run.end()

    assert status == 2, output + errors
    assert "Traceback" not in output + errors
    assert run.left() == []
    assert run.footer()["complete"] is False
