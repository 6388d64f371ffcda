"""A puller's daemon: one for each session, with private root, state and socket.

It is started when it is first needed, because its configuration depends on the request (a
progress timeout is a daemon's setting), and started again over the same state when a later
request needs another configuration, or when it was killed.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from conformance.contract import HarnessError, PullRequest
from conformance.isolation import overlay_usable, unmount_below
from conformance.profile import Profile, Setting
from conformance.pullers.hostfiles import write_hosts_tree
from conformance.pullers.process import Child, crash_words, environment, read_bounded
from conformance.pullers.template import Values, expand, expand_argv
from conformance.pullers.values import hosts_form, request_values

__all__ = ["Daemon"]

_COMPLAINT = re.compile(r"level=(?:warn|error|fatal|panic)")
_PROBE_PAUSE_S = 0.01
_STOP_S = 3.0
_LONGEST_SOCKET = 100
"""A Unix socket's path may have 107 bytes; containerd appends to its own for ttrpc."""


class Daemon:
    """The daemon of one session.

    `ready` is asked, with the socket's path, whether the daemon answers (a connection that is
    accepted is enough where it is None); it raises OSError when not yet, and `HarnessError` when
    it never will.
    """

    def __init__(
        self,
        profile: Profile,
        directory: Path,
        values: Values,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        self._table = profile.table("daemon")
        self._profile = profile
        self._ready = ready or _accepts
        self.directory = directory
        snapshotter = "overlayfs" if overlay_usable() else "native"
        self._snapshotter = self._table.get("snapshotter", False) and snapshotter
        config = directory / "daemon.toml"
        self.values = values.with_(snapshotter=snapshotter, config=str(config))
        self.socket = expand(self._table["socket"], self.values)
        if len(self.socket) > _LONGEST_SOCKET:
            raise HarnessError(f"the socket's path is too long for Unix: {self.socket}")
        self.values = self.values.with_(socket=self.socket)
        self._config = config
        self._hosts = directory / "certs.d"
        self._child: Child | None = None
        self._running_as: tuple[str, dict[str, str]] | None = None
        self._starts = 0

    @property
    def child(self) -> Child | None:
        """The process, dead or alive; None before the first start."""
        return self._child

    def ensure(self, request: PullRequest) -> None:
        """Have a daemon run that is configured for this request.

        Its ``hosts.toml`` tree is written anew in any case: containerd reads it for each pull.
        Raises `HarnessError` when it doesn't get ready.
        """
        write_hosts_tree(self._hosts, request, hosts_form(self._profile))
        wanted = self._configuration(request)
        if self._child is not None and self._child.running and wanted == self._running_as:
            return
        self.stop()
        self._start(*wanted)
        self._running_as = wanted

    def any(self, request: PullRequest) -> None:
        """Have a daemon run, however it is configured: for questions about what is stored."""
        if self._child is None or not self._child.running:
            self.ensure(request)

    def crash(self, within_s: float = 0) -> str | None:
        """In one line, how the daemon died; None while it runs or before it was started.

        ``within_s``: so long its end is waited for, where something says that it is dying.
        """
        if self._child is None:
            return None
        status = self._child.wait(within_s)
        if status is None:
            return None
        words = crash_words(self.stderr())
        return words or f"the daemon ended with status {status}"

    def stderr(self) -> str:
        """What the daemon wrote since its last start, bounded."""
        return "" if self._child is None else read_bounded(self._child.stderr)

    def kill(self) -> None:
        """As a power cut would: SIGKILL."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """Ask it to end, insist after a while, and undo what it mounted."""
        if self._child is None:
            return
        self._child.terminate()
        if self._child.wait(_STOP_S) is None:
            self._child.kill()
        self._child = None
        self._running_as = None
        unmount_below(self.directory)

    def _configuration(self, request: PullRequest) -> tuple[str, dict[str, str]]:
        """Text of the configuration file and the variables, for this request."""
        values = request_values(self.values, self._profile, self.directory, request)
        settings: list[Setting] = [
            setting
            for name, setting in sorted(self._profile.daemon_options.items())
            if name in request.inputs()
        ]
        if self._snapshotter:
            settings += filter(None, [self._profile.snapshotters.get(self._snapshotter)])
        slots: dict[str, str] = {}
        env: dict[str, str] = {}
        for setting in settings:
            for slot, text in setting.config.items():
                slots[slot] = slots.get(slot, "") + expand(text, values).rstrip() + "\n"
            env |= {key: expand(text, values) for key, text in setting.env.items()}
        lines = []
        for line in self._table.get("config", "").splitlines():
            name = line.strip()
            if name.startswith("{options.") and name.endswith("}"):
                lines.append(slots.get(name[len("{options.") : -1], "").rstrip("\n"))
            else:
                lines.append(expand(line, values))
        return "\n".join(lines) + "\n", env

    def _start(self, config: str, env: dict[str, str]) -> None:
        self._config.write_text(config, encoding="utf-8")
        with suppress(FileNotFoundError):
            Path(self.socket).unlink()
        self._starts += 1
        own = self._profile.table("env")
        self._child = Child(
            expand_argv(self._table["argv"], self.values, {}),
            env=environment(
                self.directory, {key: expand(text, self.values) for key, text in own.items()} | env
            ),
            folder=self.directory,
            name=f"daemon-{self._starts}",
        )
        self._await_ready(self._child)

    def _await_ready(self, child: Child) -> None:
        limit_s = float(self._table.get("ready_s", 15.0))
        deadline = time.monotonic() + limit_s
        while True:
            try:
                self._ready(self.socket)
            except OSError as error:
                reason = str(error)
            except HarnessError as error:
                words = _complaint(self.stderr())
                child.kill()
                raise HarnessError(f"{child.argv[0]}: {error}: {words}") from None
            else:
                return
            # The pause between two attempts is a wait for the process' death, which ends it early.
            if child.wait(_PROBE_PAUSE_S) is not None:
                words = crash_words(self.stderr()) or _complaint(self.stderr())
                raise HarnessError(f"{child.argv[0]} ended while it started: {words}")
            if time.monotonic() > deadline:
                child.kill()
                raise HarnessError(f"{child.argv[0]} isn't ready after {limit_s:g} s: {reason}")


def _accepts(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(path)


def _complaint(text: str) -> str:
    """The last line by which a log warns or worse; else its last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    bad = [line for line in lines if _COMPLAINT.search(line)]
    return (bad or lines or ["it said nothing"])[-1]
