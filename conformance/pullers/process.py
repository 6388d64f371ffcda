"""Processes of pullers: each in a group of its own, gone when it has to be, its words kept.

Output goes to files, not pipes: a grandchild that keeps a pipe open can't hold us, and nothing
has to be read while the puller runs. Waiting is for the process itself (a pidfd), never a poll.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from conformance.contract import HarnessError

__all__ = [
    "Child",
    "crash_words",
    "end_children",
    "environment",
    "read_bounded",
    "start_dying_with_us",
]

_KEPT = 32 * 1024
"""Bytes kept of each end of what a puller wrote."""

_DIES_WITH_PARENT = (
    "import ctypes, os, sys;"
    "ctypes.CDLL(None).prctl(1, 9, 0, 0, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)

_CRASHES = (
    re.compile(r"^(?:panic|fatal error): .*", re.MULTILINE),
    re.compile(r"^Traceback \(most recent call last\):$", re.MULTILINE),
    re.compile(r"^thread '.*' panicked at .*", re.MULTILINE),
)
_GOROUTINE = re.compile(r"^goroutine \d+ ", re.MULTILINE)


def environment(home: Path, more: Mapping[str, str], passed: Sequence[str] = ()) -> dict[str, str]:
    """The environment of a puller: private folders, no proxies, nothing of the caller's own.

    `passed` names variables of the caller that are kept; `more` is put over all.
    """
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "XDG_RUNTIME_DIR": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    return env | {k: os.environ[k] for k in passed if k in os.environ} | dict(more)


@cache
def _spawner() -> ThreadPoolExecutor:
    """One thread that starts all children of this process.

    PR_SET_PDEATHSIG fires when the *thread* that forked ends. This one ends with the process.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="spawner")


@cache
def _dying_with_parent() -> tuple[str, ...]:
    """The words before a command that make it die with us; util-linux' own where it is there."""
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        return (setpriv, "--pdeathsig", "KILL", "--")
    return (sys.executable, "-I", "-S", "-c", _DIES_WITH_PARENT)


_ending = threading.Event()


def end_children() -> None:
    """The run was interrupted: kill every child of this process, and start no other.

    What waits for a puller then has its end at once, in whatever thread it waits.
    """

    def end() -> None:
        _ending.set()
        for pid in _children():
            with suppress(ProcessLookupError):
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGKILL)

    # By the thread that starts them: none is started behind our back.
    _spawner().submit(end).result()


def _children() -> list[int]:
    own = os.getpid()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # What stands in brackets may hold anything; the parent is the second field after it.
            if int(path.read_text().rpartition(")")[2].split()[1]) == own:
                found.append(int(path.parent.name))
    return found


def start_dying_with_us(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that the kernel kills when this process ends. `options` are Popen's."""
    command = [*_dying_with_parent(), *argv]

    def start() -> subprocess.Popen[bytes]:
        if _ending.is_set():
            raise HarnessError("the run is being ended")
        return subprocess.Popen(command, **options)

    return _spawner().submit(start).result()


class Child:
    """A running program.

    Raises `HarnessError` when it can't be started. `name` is the stem of its files in `folder`:
    ``<name>.out`` and ``<name>.err``.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: Path,
        name: str,
        stdin: bytes = b"",
    ) -> None:
        program = shutil.which(argv[0], path=env.get("PATH"))
        if program is None:
            raise HarnessError(f"{argv[0]} is not a program that can be run")
        self.argv = tuple(argv)
        self.stdout = folder / f"{name}.out"
        self.stderr = folder / f"{name}.err"
        given = folder / f"{name}.in"
        given.write_bytes(stdin)
        self.started = time.monotonic()
        try:
            with given.open("rb") as in_, self.stdout.open("wb") as out:
                with self.stderr.open("wb") as err:
                    self._process = start_dying_with_us(
                        [program, *argv[1:]],
                        stdin=in_,
                        stdout=out,
                        stderr=err,
                        env=dict(env),
                        cwd=folder,
                        start_new_session=True,
                    )
        except OSError as error:
            raise HarnessError(f"{argv[0]} can't be started: {error.strerror}") from None
        self._pidfd = os.pidfd_open(self._process.pid)
        self.seconds = 0.0

    @property
    def pid(self) -> int:
        """The process' id, which is its group's too."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None and not self._ended(0)

    def wait(self, timeout_s: float | None) -> int | None:
        """Wait for its end: the status (negative: a signal), or None when the time is up.

        Whatever it left in its process group is killed when it ends.
        """
        if self._process.returncode is None:
            if not self._ended(timeout_s):
                return None
            self.seconds = time.monotonic() - self.started
            # Before the status is taken: until then nobody else can get this group's number.
            self._signal(signal.SIGKILL)
            self._process.wait()
            os.close(self._pidfd)
        return self._process.returncode

    def interrupt(self) -> None:
        """SIGINT to the group, as a terminal sends it."""
        self._signal(signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM to the process alone."""
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the group; returns when it is gone."""
        self._signal(signal.SIGKILL)
        self.wait(None)

    def _ended(self, timeout_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else max(0, timeout_s * 1000)))

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def read_bounded(path: Path) -> str:
    """Beginning and end of a text file; the middle of a long one is left out, and said so."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= 2 * _KEPT:
                return file.read().decode("utf-8", "replace")
            head = file.read(_KEPT)
            file.seek(-_KEPT, os.SEEK_END)
            tail = file.read()
    except OSError:
        return ""
    return (
        head.decode("utf-8", "replace")
        + f"\n… {size - 2 * _KEPT} bytes left out …\n"
        + tail.decode("utf-8", "replace")
    )


def crash_words(stderr: str) -> str | None:
    """The line by which a runtime reports its own death; None when there is no such report."""
    for pattern in _CRASHES:
        match = pattern.search(stderr)
        if match is None:
            continue
        if pattern is _CRASHES[0] and _GOROUTINE.search(stderr) is None:
            # 'panic:' may be a puller's ordinary word; Go's own always lists goroutines.
            continue
        if pattern is _CRASHES[1]:
            # The exception stands below the frames.
            lines = [line for line in stderr[match.end() :].splitlines() if line.strip()]
            last = next((line for line in lines if not line.startswith(" ")), "")
            return last or match[0]
        return match[0]
    return None
