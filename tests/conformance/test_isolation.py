"""The private network of a run: what is inside, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance import isolation

RUN = "import sys; from conformance import isolation; sys.exit(isolation.run(sys.argv[1:]))"
LOOK = """
import json, os, socket
from dataclasses import asdict
from conformance import isolation
here = isolation.current()
names = {n: socket.getaddrinfo(n, 80)[0][4][0] for n in ("registry.test", "cdn6.test", "localhost")}
interfaces = [name for _, name in socket.if_nameindex()]
try:
    socket.create_connection(("192.0.2.1", 80), 5)
    outside = "reached"
except OSError as error:
    outside = error.strerror
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname(), 5)
print(json.dumps({**asdict(here), "names": names, "interfaces": interfaces, "outside": outside,
                  "overlay": isolation.overlay_usable()}))
raise SystemExit(7)
"""


def start(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PULLPROOF_ISOLATION"},
    )


@pytest.fixture(scope="module")
def private() -> None:
    flags, reason = isolation._usable_flags()
    if flags is None:
        pytest.skip(reason)


@pytest.mark.usefixtures("private")
def test_inside_there_is_only_loopback() -> None:
    process = start(sys.executable, "-c", LOOK)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 7, err
    seen = json.loads(out)
    assert seen["kind"] == "private"
    assert seen["names"]["registry.test"] == "127.0.0.1"
    assert seen["names"]["cdn6.test"] == "::1"
    assert seen["interfaces"] == ["lo"]
    assert seen["outside"] == "Network is unreachable"
    assert not Path(seen["run_dir"]).exists()


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_nothing_stays(number: signal.Signals, tmp_path: Path) -> None:
    """The run is asked once and may tidy up; when the outer process is killed, all of it goes."""
    told = tmp_path / "told"
    script = f"""
import os, signal, subprocess, sys
from conformance import isolation
def asked(number, frame):
    open({str(told)!r}, "a").write(f"{{number}} ")
    raise SystemExit(3)
signal.signal(signal.SIGINT, asked)
signal.signal(signal.SIGTERM, asked)
subprocess.Popen(["sleep", "{600 + number}.25"], start_new_session=True)
subprocess.run(["mount", "-t", "tmpfs", "none", isolation.current().run_dir])
print(isolation.current().run_dir, flush=True)
signal.pause()
"""
    process = start(sys.executable, "-c", script)
    assert process.stdout is not None
    run_dir = process.stdout.readline().strip()
    assert run_dir
    process.send_signal(number)
    process.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert process.returncode == 3
        assert told.read_text() == f"{int(number)} "
    until = time.monotonic() + 20
    while Path(run_dir).exists() or _sleepers(f"{600 + number}.25"):
        # When the outer process was killed, the inner one tidies up after our wait has ended.
        assert number == signal.SIGKILL
        assert time.monotonic() < until
        os.sched_yield()
    assert run_dir not in Path("/proc/self/mountinfo").read_text()


def _sleepers(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[:2] == [b"sleep", word.encode()]:
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_without_namespaces_the_run_goes_on_and_says_so(tmp_path: Path) -> None:
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    script = "import json; from dataclasses import asdict; from conformance import isolation as i;"
    script += "print(json.dumps(asdict(i.current())))"
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    argv = [sys.executable, "-c", RUN, sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=True)
    seen = json.loads(done.stdout)
    assert seen["kind"] == "none"
    assert seen["reason"] == (
        "the kernel forbids private namespaces here (unshare: Operation not permitted)"
    )
    assert not Path(seen["run_dir"]).exists()


def test_outside_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULLPROOF_ISOLATION", raising=False)
    assert isolation.current().private is False
    assert all(name.endswith(".test") for name in isolation.HOSTS)
