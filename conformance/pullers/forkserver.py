"""A process that forks children which have the puller loaded already, and buries them.

`multiprocessing`'s forkserver was tried first: each of its children runs the caller's ``__main__``
again, which costs an import at best and a second run of an unguarded script at worst. This one
knows nothing of its caller but the jobs it is sent.

Each job has a socket of its own, over which go, as JSON: the job (to the child), ``{"pid": n}``
(from the server), the child's result, and at the end ``{"exit": status}`` (from the server). The
server has no threads, so a fork in it is safe; it ends when its caller does.
"""

from __future__ import annotations

import argparse
import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from subprocess import Popen
from typing import Any, NoReturn

from conformance.contract import HarnessError
from conformance.pullers.process import start_dying_with_us
from conformance.pullers.python_child import perform

__all__ = ["ForkServer", "Job", "server_for"]

_PR_SET_PDEATHSIG = 1
_LARGEST = 128 * 1024
"""Bytes of one message: what a datagram of a Unix socket holds on every Linux."""


class ForkServer:
    """The caller's side of one server."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-m", "conformance.pullers.forkserver", str(theirs.fileno())]
        # Modules may lie where only this process' path leads, a test's folder for instance.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process: Popen[bytes] = start_dying_with_us(
            [*argv, *preload], env=env, pass_fds=(theirs.fileno(),)
        )
        theirs.close()

    def job(self, document: Mapping[str, Any]) -> Job:
        """Fork a child for this job."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                ours.send(json.dumps({**document, "path": sys.path}).encode())
                socket.send_fds(self._control, [b"job"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise HarnessError(f"no child could be forked: {error.strerror}") from None
        return Job(ours)

    def close(self) -> None:
        """End the server and every child that it still has."""
        self._control.close()
        self._process.wait()


@cache
def server_for(preload: tuple[str, ...]) -> ForkServer:
    """The server of this process that has these modules loaded; it ends with the process."""
    server = ForkServer(preload)
    atexit.register(server.close)
    return server


class Job:
    """One forked child."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.started = time.monotonic()
        self.result: Any = None
        self.status: int | None = None
        self._pid: int | None = None

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for the child's end; False when the time is up. Then see `result` and `status`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.status is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._receive(left):
                return False
        return True

    def interrupt(self) -> None:
        """SIGINT to the child, as a terminal would send it."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the child and all of its group; returns when it is buried."""
        self._signal(signal.SIGKILL)
        self.wait(None)

    def _signal(self, number: signal.Signals) -> None:
        while self._pid is None and self.status is None:
            self._receive(None)
        if self._pid is None or self.status is not None:
            return
        # The group is there when the child has made it; before that, the child is all there is.
        for send in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                send(self._pid, number)

    def _receive(self, timeout_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000):
            return False
        try:
            data = self._connection.recv(_LARGEST)
        except ConnectionResetError:
            # Told once, and first, when the child died before it read its job. The rest follows.
            return True
        message = json.loads(data) if data else {"exit": -signal.SIGKILL}
        if "pid" in message:
            self._pid = message["pid"]
        elif "exit" in message:
            self.status = message["exit"]
            self._connection.close()
        else:
            self.result = message["result"]
        return True


# --- the server ---------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Fork for each job until the caller is gone."""
    children: dict[int, socket.socket] = {}
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # The terminal's Ctrl-C is the caller's to pass on. Blocked, not ignored: what a child is sent
    # before it is ready to be interrupted waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake_reader, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake_reader in ready:
            os.read(wake_reader, 4096)
        _bury(children)
        if control.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        if not data:
            break
        connection = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            control.close()
            for other in children.values():
                other.close()
            _child(connection)
        children[pid] = connection
        with suppress(OSError):
            connection.send(json.dumps({"pid": pid}).encode())
    for pid in children:
        _kill_group(pid)


def _bury(children: dict[int, socket.socket]) -> None:
    """Tell of each child that has ended, and kill what it left in its group."""
    while children:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return
        # Before it is reaped: until then nobody else can get this group's number.
        _kill_group(ended.si_pid)
        _, status = os.waitpid(ended.si_pid, 0)
        with children.pop(ended.si_pid) as connection, suppress(OSError):
            connection.send(json.dumps({"exit": os.waitstatus_to_exitcode(status)}).encode())


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _child(connection: socket.socket) -> NoReturn:
    """Do the job and end without a look back: nothing of the server's is this process' to clean."""
    status = 1
    try:
        os.setsid()
        # Nobody else would bury this child if the server were killed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        job = json.loads(connection.recv(_LARGEST))
        sys.path[:] = job["path"]
        result = perform(job)
        connection.send(json.dumps({"result": result}).encode())
        status = 0
    finally:
        os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """The server process: not for people."""
    parser = argparse.ArgumentParser(
        prog="conformance.pullers.forkserver", description=main.__doc__
    )
    parser.add_argument("control", type=int)
    parser.add_argument("preload", nargs="*")
    options = parser.parse_args(arguments)
    for module in options.preload:
        # Whether it can be imported is judged in the child, where the answer has a reader.
        with suppress(Exception):
            importlib.import_module(module)
    # What is loaded now is never freed: keep the collector from copying its pages in each child.
    gc.freeze()
    _serve(socket.socket(fileno=options.control))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
