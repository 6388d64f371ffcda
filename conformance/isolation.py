"""One private network for a whole run: pullers, registries and workers see loopback and no more.

The run starts itself again below ``unshare(1)``, in namespaces of its own for network, mounts and
processes, with a user namespace where the caller isn't root. Inside, only loopback is up, and a
private hosts file gives the suite's names (``registry.test`` and others) to loopback. Whatever
the run leaves (processes, mounts, sockets) dies with the namespaces; its folder is removed by
the outer process. Where the kernel forbids it the run goes on without, and says so.

Run as ``python -m conformance.isolation`` this module is the first process inside.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Literal

__all__ = ["HOSTS", "Isolation", "current", "overlay_usable", "ready", "run", "unmount_below"]

HOSTS = {
    **dict.fromkeys(
        (
            *("registry.test", "mirror.test", "mirror2.test", "cdn.test", "auth.test"),
            *("evil.test", "proxy.test", "storage.registry.test"),
        ),
        "127.0.0.1",
    ),
    # docker trusts all of 127.0.0.0/8 without verification; names of ::1 it does not.
    **dict.fromkeys(
        ("registry6.test", "mirror6.test", "cdn6.test", "auth6.test", "evil6.test"), "::1"
    ),
}
"""Names that a run knows, and their loopback addresses."""

_VARIABLE = "PULLPROOF_ISOLATION"
_SYSTEM_HOSTS = "/etc/hosts"
_MS_BIND, _MNT_DETACH = 4096, 2
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_INTERRUPT, _TERMINATE = b"I", b"T"
_PATIENCE = 3
"""So many interrupts are passed on; the next one kills."""


@dataclass(frozen=True)
class Isolation:
    """How this process is isolated.

    Attributes:
        kind: ``private`` inside the namespaces, ``none`` without.
        reason: why not, in one line, where it is ``none``.
        user_namespace: root is only root of a user namespace: owners and devices are limited.
        pid_namespace: every process of the run ends with it, by construction.
        run_dir: short private folder of the run, removed at its end.
    """

    kind: Literal["private", "none"]
    reason: str = ""
    user_namespace: bool = False
    pid_namespace: bool = False
    run_dir: str = ""

    @property
    def private(self) -> bool:
        """Whether pullers may be let loose."""
        return self.kind == "private"


def current() -> Isolation:
    """How this process is isolated; workers inherit it by their environment."""
    value = os.environ.get(_VARIABLE)
    if value is None:
        return Isolation("none", "the run was not started by pullproof")
    return Isolation(**json.loads(value))


def run(argv: Sequence[str], *, hold: bool = False) -> int:
    """Run a command isolated, wait for it, and remove what it left. Returns its exit status.

    ``hold``: SIGINT is kept back from it until it calls `ready`: a program that is still being
    loaded can't answer it.

    The command reads the result of `current` for itself. SIGINT and SIGTERM are passed on to it;
    it is killed when this process dies or loses patience.
    """
    base = tempfile.gettempdir()
    # A Unix socket's path has 107 bytes at the most: the folder must be near the root.
    directory = tempfile.mkdtemp(prefix="pp-", dir=base if len(base) < 24 else "/tmp")
    try:
        flags, reason = _usable_flags()
        if flags is None:
            isolation = Isolation("none", reason, run_dir=directory)
            return _wait_passing_signals(subprocess.Popen(argv, env=_environment(isolation)), None)
        isolation = Isolation(
            "private",
            user_namespace="--user" in flags,
            pid_namespace="--pid" in flags,
            run_dir=directory,
        )
        return _run_inside(argv, flags, isolation, hold=hold)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def ready() -> None:
    """Let the SIGINT come that was held back (see `run`), now that somebody catches it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _run_inside(
    argv: Sequence[str], flags: tuple[str, ...], isolation: Isolation, *, hold: bool
) -> int:
    reader, writer = os.pipe()
    command = [
        *("unshare", *flags, "--", sys.executable, "-m", "conformance.isolation"),
        *("--control", str(reader), *(["--hold"] if hold else []), "--", *argv),
    ]
    # A session of its own: the terminal's Ctrl-C reaches this process alone, which passes it on
    # once. Otherwise every process of the run would get it, some of them twice.
    process = subprocess.Popen(
        command, env=_environment(isolation), pass_fds=(reader,), start_new_session=True
    )
    os.close(reader)
    try:
        return _wait_passing_signals(process, writer)
    finally:
        os.close(writer)


def _environment(isolation: Isolation) -> dict[str, str]:
    return {**os.environ, _VARIABLE: json.dumps(asdict(isolation))}


def _wait_passing_signals(process: subprocess.Popen[bytes], control: int | None) -> int:
    """Wait for `process`; what interrupts us is told to it."""
    received = 0

    def pass_on(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > _PATIENCE:
            process.kill()
        elif control is None:
            # Without a session of its own a terminal's SIGINT has reached it already.
            if number == signal.SIGTERM:
                process.terminate()
        else:
            with suppress(OSError):
                os.write(control, _INTERRUPT if number == signal.SIGINT else _TERMINATE)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _usable_flags() -> tuple[tuple[str, ...] | None, str]:
    """The strongest flags for unshare(1) that this kernel grants; None and why not."""
    if shutil.which("unshare") is None:
        return None, "unshare(1) of util-linux is not installed"
    common = ("--net", "--mount", "--fork", "--kill-child")
    processes = ("--pid", "--mount-proc")
    user = ("--user", "--map-root-user")
    reason = ""
    for first in ((), user) if os.geteuid() == 0 else (user,):
        for second in (processes, ()):
            flags = (*first, *common, *second)
            probe = subprocess.run(
                ["unshare", *flags, "--", "true"], capture_output=True, text=True, check=False
            )
            if probe.returncode == 0:
                return flags, ""
            reason = reason or probe.stderr.strip().splitlines()[-1:][0]
    return None, f"the kernel forbids private namespaces here ({reason})"


# --- inside -------------------------------------------------------------------------------------


def _libc_mount(
    source: str, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    encoded = [None if each is None else os.fsencode(each) for each in (source, target, kind, data)]
    if libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _loopback_up() -> None:
    """As ``ip link set lo up``, without needing iproute2."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("H", answer, 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _private_hosts(run_dir: str) -> None:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {name}" for name, address in HOSTS.items()]
    path = Path(run_dir, "hosts")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    _libc_mount(str(path), _SYSTEM_HOSTS, None, _MS_BIND)


def _first_process(control: int, argv: Sequence[str], *, hold: bool) -> int:
    """Set the namespaces up, run the command, reap what is orphaned, end with its status."""
    _loopback_up()
    _private_hosts(current().run_dir)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen(
        argv, restore_signals=True, preexec_fn=_held_back if hold else _default_signals
    )

    abandoned = threading.Event()

    def obey() -> None:
        orders = {_INTERRUPT: signal.SIGINT, _TERMINATE: signal.SIGTERM}
        while order := os.read(control, 1):
            with suppress(ProcessLookupError):
                os.kill(child.pid, orders[order])
        # The outer process is gone, and so is the reason to be here.
        abandoned.set()
        _tidy()
        os._exit(128 + signal.SIGHUP)

    control_thread = threading.Thread(target=obey, name="control", daemon=True)
    control_thread.start()
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            child.returncode = code
            if abandoned.is_set():
                # That thread killed it, tidies up, and ends this process.
                control_thread.join()
            _tidy()
            return code if code >= 0 else 128 - code


def _tidy() -> None:
    """Kill what is left, undo its mounts, remove the run's folder.

    From inside, because the root of a user namespace can remove what its user outside can't, such
    as the folders of mode 0 that overlayfs makes.
    """
    if os.getpid() == 1:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    run_dir = Path(current().run_dir)
    unmount_below(run_dir)
    shutil.rmtree(run_dir, ignore_errors=True)


def _default_signals() -> None:
    # Only this process ignores them; no thread exists yet, so Python code may run here.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _held_back() -> None:
    _default_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


# --- what the adapters ask ----------------------------------------------------------------------


@cache
def overlay_usable() -> bool:
    """Whether an overlay can be mounted in the run's folder; containerd needs 'native' else."""
    isolation = current()
    if not isolation.private:
        return False
    with tempfile.TemporaryDirectory(dir=isolation.run_dir, prefix="overlay-") as folder:
        for name in ("lower", "upper", "work", "merged"):
            Path(folder, name).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        try:
            _libc_mount("overlay", f"{folder}/merged", "overlay", 0, options)
        except OSError:
            return False
        unmount_below(Path(folder))
    return True


def unmount_below(directory: Path) -> None:
    """Undo every mount at or below `directory`, the newest first; forced, and never an error."""
    wanted = str(directory.resolve())
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    points = [_unescaped(line.split()[4]) for line in lines]
    libc = ctypes.CDLL(None, use_errno=True)
    for point in reversed(points):
        if point == wanted or point.startswith(wanted + "/"):
            libc.umount2(os.fsencode(point), _MNT_DETACH)


def _unescaped(field: str) -> str:
    # The kernel writes space, tab, newline and backslash as octal.
    for octal in ("040", "011", "012", "134"):
        field = field.replace("\\" + octal, chr(int(octal, 8)))
    return field


def main(arguments: Sequence[str] | None = None) -> int:
    """The first process inside: not for people."""
    parser = argparse.ArgumentParser(prog="conformance.isolation", description=main.__doc__)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args(arguments)
    return _first_process(options.control, options.argv, hold=options.hold)


if __name__ == "__main__":
    raise SystemExit(main())
