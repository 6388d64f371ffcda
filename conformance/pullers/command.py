"""The ``command`` kind: existing command lines, driven by templates, with or without a daemon."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from conformance.contract import HarnessError, Outcome, PullRequest, Running, Status
from conformance.evidence import Layout
from conformance.isolation import unmount_below
from conformance.profile import Profile
from conformance.pullers.base import BaseSession, Finished, last_line, outcome_of_exit
from conformance.pullers.daemon import Daemon
from conformance.pullers.hostfiles import Inexpressible
from conformance.pullers.process import Child, environment, read_bounded
from conformance.pullers.template import Values, expand, expand_argv
from conformance.pullers.values import (
    OptionGroups,
    key_of,
    request_values,
    session_values,
    write_files,
)

__all__ = ["CommandSession", "RunningCommand"]

_QUESTION_S = 20.0
"""Budget of status, mount and the like: they only look at what is there."""


class RunningCommand:
    """A pull by a command line. ``daemon``: whose death counts as the puller's."""

    def __init__(self, child: Child, budget_s: float, daemon: Daemon | None) -> None:
        self._child = child
        self._budget_s = budget_s
        self._daemon = daemon
        self._ended_by: str | None = None

    def wait(self) -> Outcome:
        """The outcome; when the budget is used up, the process group is killed first."""
        status = self._child.wait(self._budget_s)
        if status is None:
            self._child.kill()
            return Outcome(
                "hung",
                f"still running after {self._budget_s:g} s",
                stderr=read_bounded(self._child.stderr),
                argv=self._child.argv,
                seconds=self._child.seconds,
            )
        outcome = outcome_of_exit(self._child, status)
        if self._ended_by is not None and outcome.kind != "pulled":
            return replace(outcome, kind="failed", error=self._ended_by, code=self._ended_by)
        if self._daemon is not None and (crash := self._daemon.crash()) is not None:
            stderr = outcome.stderr + self._daemon.stderr()
            return replace(outcome, kind="crashed", error=crash, stderr=stderr)
        return outcome

    def cancel(self) -> None:
        """Ctrl-C."""
        self._ended_by = "cancelled"
        self._child.interrupt()

    def kill(self) -> None:
        """SIGKILL to the group, and to the daemon that did the work."""
        self._ended_by = "killed"
        if self._daemon is not None:
            self._daemon.kill()
        self._child.kill()


class CommandSession(BaseSession):
    """One session of a command line."""

    def __init__(self, profile: Profile, directory: Path, programs: Mapping[str, str]) -> None:
        super().__init__(profile, directory)
        self._values = session_values(profile, directory, programs)
        self._daemon: Daemon | None = None
        if "daemon" in profile.tables:
            self._daemon = Daemon(profile, directory, self._values)
            self._values = self._daemon.values
        write_files(profile, self._values)
        # Of a 'dir' layout, which folder the last pull of each (store, reference) wrote.
        self._outputs: dict[tuple[Path, str], Path] = {}
        self._mounted: list[tuple[Path, PullRequest]] = []

    def begin(self, request: PullRequest, budget_s: float) -> Running:
        """Start the command line with the option groups that the request asks for."""
        values = self._request(request)
        try:
            groups = OptionGroups(self.profile.options, request, values)
            argv = expand_argv(self.profile.table("command")["pull"], values, groups.slots)
        except Inexpressible as lacking:
            return Finished(Outcome("unsupported", feature=str(lacking)))
        if self._daemon is not None:
            self._daemon.ensure(request)
        # What stood under the reference stays its content until a pull leaves something new.
        child = self._child(argv, values, groups.env)
        self._outputs[request.store, request.image] = request.output
        return RunningCommand(child, budget_s, self._daemon)

    def status(self, image: str, request: PullRequest) -> Status:
        """By the profile's ``[status]`` command, or by what the layout has."""
        table = self.profile.table("status")
        if not table:
            return super().status(image, request)
        stdout = self._ask(table["argv"], image, request)
        match = re.search(table["digest"], stdout)
        return Status(False) if match is None else Status(True, digest=match[1])

    def remove(self, image: str, request: PullRequest) -> bool:
        """By the profile's ``remove`` command; False when it has none."""
        argv = self.profile.table("command").get("remove")
        if argv is None:
            return False
        self._ask(argv, image, request)
        return True

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        """The layout that ``[layout]`` describes."""
        table = self.profile.table("layout")
        if not table:
            return None
        if table["form"] == "dir":
            return self._folder(table["path"], image, request)
        path = Path(expand(table["path"], self._request(replace(request, image=image))))
        if table["form"] == "oci":
            return Layout.of_directory(path, image)
        digest = self.status(image, request).digest
        return None if digest is None else Layout.of_store(path, digest)

    def _folder(self, template: str, image: str, request: PullRequest) -> Layout | None:
        """What this very pull has left, where it brought the image; else what the last one left."""
        outputs = [self._outputs.get((request.store, image), request.output)]
        if request.image == image:
            outputs.insert(0, request.output)
        for output in outputs:
            asked = replace(request, image=image, output=output)
            found = Layout.of_dir_transport(Path(expand(template, self._request(asked))))
            if found is not None:
                return found
        return None

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """Mount the image by ``[rootfs] mount``; it stays until the session closes."""
        table = self.profile.table("rootfs")
        if not table or not self.status(image, request).present:
            return None
        point = self.directory / "mnt" / key_of(f"{image} {len(self._mounted)}")
        point.mkdir(parents=True)
        slots = {"": table.get("platform", [])} if request.platform is not None else {}
        self._ask(table["mount"], image, request, slots, mount=str(point))
        self._mounted.append((point, request))
        return point

    def close(self) -> None:
        """Unmount, stop the daemon."""
        for point, request in reversed(self._mounted):
            if self._daemon is not None and self._daemon.crash() is None:
                # What is left mounted is undone below by force.
                with suppress(HarnessError):
                    argv = self.profile.table("rootfs")["unmount"]
                    self._ask(argv, request.image, request, mount=str(point))
        self._mounted.clear()
        unmount_below(self.directory / "mnt")
        if self._daemon is not None:
            self._daemon.stop()

    def _request(self, request: PullRequest) -> Values:
        return request_values(self._values, self.profile, self.directory, request)

    def _child(self, argv: list[str], values: Values, more: Mapping[str, str]) -> Child:
        own = {key: expand(text, values) for key, text in self.profile.table("env").items()}
        return Child(
            argv,
            env=environment(
                self.directory, own | dict(more), self.profile.tables.get("pass_env", ())
            ),
            folder=self.directory,
            name=self.next_name(),
        )

    def _ask(
        self,
        argv: list[str],
        image: str,
        request: PullRequest,
        slots: Mapping[str, list[str]] | None = None,
        **more: str,
    ) -> str:
        """Run a question to its end and return what it wrote. Raises `HarnessError` if it fails."""
        if self._daemon is not None:
            self._daemon.any(request)
        values = self._request(replace(request, image=image)).with_(**more)
        options = {name: [expand(e, values) for e in each] for name, each in (slots or {}).items()}
        child = self._child(expand_argv(argv, values, options), values, {})
        status = child.wait(_QUESTION_S)
        if status is None:
            child.kill()
            raise HarnessError(f"{' '.join(child.argv)}: no answer after {_QUESTION_S:g} s")
        if status != 0:
            words = last_line(read_bounded(child.stderr)) or _status_words(status)
            raise HarnessError(f"{' '.join(child.argv)}: {words}")
        return read_bounded(child.stdout)


def _status_words(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
