"""The ``python`` kind: a callable, run in a forked child that can be killed.

Children are forked by one server process that has loaded the puller already, so a pull costs a
fork and not an import; the server itself was started fresh and has none of this process' threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from conformance.contract import HarnessError, Outcome, PullRequest, Running, Status
from conformance.evidence import Layout
from conformance.isolation import HOSTS, current
from conformance.profile import Profile
from conformance.pullers.answers import Places, checked_answer, outcome_of, status_of
from conformance.pullers.base import BaseSession
from conformance.pullers.process import read_bounded
from conformance.pullers.python_child import run

__all__ = ["PythonSession"]

_QUESTION_S = 20.0


@cache
def _context() -> ForkServerContext:
    """The server's context. What it preloads is fixed when the first child is made."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["conformance.pullers.python_child"])
    return context


@cache
def _preload(modules: tuple[str, ...]) -> None:
    """Have the server load these modules; those of a second profile are loaded by its children."""
    _context().set_forkserver_preload(["conformance.pullers.python_child", *modules])


class _Child:
    """A forked child that does one operation."""

    def __init__(
        self, profile: Profile, operation: str, image: str, request: PullRequest, stderr: Path
    ) -> None:
        table = profile.table("python")
        arguments: Mapping[str, str] = table.get("arguments", {})
        targets = [table["entry"], *table.get("refusals", ())]
        # An argument such as 'module:Class' is a target of the puller's own: load it beforehand.
        targets += [each for each in arguments.values() if ":" in each and "/" not in each]
        _preload(tuple(dict.fromkeys(each.partition(":")[0] for each in targets)))
        ours, theirs = _context().Pipe(duplex=False)
        self.connection: Connection = ours
        self.stderr = stderr
        # Inside a private network the hosts file knows the names, for every process alike.
        names = {} if current().private else HOSTS
        self._process = _context().Process(
            target=run,
            args=(
                theirs,
                table["entry"],
                dict(arguments),
                tuple(table.get("refusals", ())),
                operation,
                image,
                request.to_json(),
                str(stderr),
                names,
            ),
            daemon=True,
        )
        self.started = time.monotonic()
        self._process.start()
        theirs.close()

    def answer(self, timeout_s: float) -> tuple[str, Any] | None:
        """What the child sent; None when the time is up. A death without a word is ``died``."""
        ready = wait([self.connection, self._process.sentinel], timeout_s)
        if not ready:
            return None
        sent: tuple[str, Any] | None = None
        # A child that ended may still have sent its answer before.
        if self.connection.poll():
            with suppress(EOFError):
                sent = self.connection.recv()
        return sent or ("died", self.end())

    def end(self) -> int | None:
        """Kill what is left of it, and return its exit status (negative: a signal)."""
        if self.connection.closed:
            return self._process.exitcode
        # A child that has said all, or died, ends by itself; any other is killed with its group.
        self._process.join(0.5 if self.connection.closed else 0)
        self._signal(signal.SIGKILL)
        self._process.join()
        self.connection.close()
        return self._process.exitcode

    def interrupt(self) -> None:
        """SIGINT to the child."""
        self._signal(signal.SIGINT)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._process.pid
        if pid is None or self._process.exitcode is not None:
            return
        # The group exists as soon as the child has made it; before that, the child is all.
        for send in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                send(pid, number)


class RunningPython:
    """A pull by a callable."""

    def __init__(
        self, child: _Child, request: PullRequest, budget_s: float, places: Places
    ) -> None:
        self._child = child
        self._request = request
        self._budget_s = budget_s
        self._places = places
        self._ended_by: str | None = None
        self._outcome: Outcome | None = None

    def wait(self) -> Outcome:
        """The outcome; after the budget the child is killed."""
        if self._outcome is None:
            self._outcome = self._wait()
        return self._outcome

    def _wait(self) -> Outcome:
        child = self._child
        remaining = self._budget_s - (time.monotonic() - child.started)
        answered = child.answer(max(0.0, remaining))
        seconds = time.monotonic() - child.started
        status = child.end()
        facts: dict[str, Any] = {"seconds": seconds, "stderr": read_bounded(child.stderr)}
        if answered is None:
            return Outcome("hung", f"still running after {self._budget_s:g} s", **facts)
        word, value = answered
        if word == "answer":
            document = checked_answer(value, self._who, {"pulled", "failed", "unsupported"})
            if document["answer"] == "pulled":
                self._places.note(self._request, document)
            outcome = outcome_of(document)
            return Outcome(**{**vars(outcome), **facts})
        if self._ended_by is not None:
            return Outcome("failed", self._ended_by, code=self._ended_by, **facts)
        if word == "crash":
            return Outcome("crashed", value, **facts)
        return Outcome("crashed", f"ended with status {status}", exit_status=status, **facts)

    @property
    def _who(self) -> str:
        return "the puller"

    def cancel(self) -> None:
        """SIGINT: KeyboardInterrupt in the child's main thread."""
        self._ended_by = "cancelled"
        self._child.interrupt()

    def kill(self) -> None:
        """SIGKILL."""
        self._ended_by = "killed"
        self._child.end()


class PythonSession(BaseSession):
    """One session: a child for each operation."""

    def __init__(self, profile: Profile, directory: Path) -> None:
        super().__init__(profile, directory)
        self._places = Places()

    def begin(self, request: PullRequest, budget_s: float) -> Running:
        """Fork a child that pulls."""
        child = self._child("pull", request.image, request)
        return RunningPython(child, request, budget_s, self._places)

    def status(self, image: str, request: PullRequest) -> Status:
        """By the puller's own ``status``; without one, by the layout."""
        answer = self._ask("status", image, request)
        if answer.get("answer") == "unsupported":
            return super().status(image, request)
        return status_of(checked_answer(answer, self.profile.name, {"status"}))

    def remove(self, image: str, request: PullRequest) -> bool:
        """By the puller's own ``remove``."""
        return self._ask("remove", image, request).get("answer") == "removed"

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        """By the puller's own ``layout`` (folder of blobs and root digest), or the last pull's."""
        answer = self._ask("layout", image, request)
        if answer.get("answer") == "unsupported":
            return self._places.layout(image, request)
        place = answer["layout"]
        return None if place is None else Layout.of_store(Path(place[0]), place[1])

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """By the puller's own ``rootfs``, or the last pull's."""
        answer = self._ask("rootfs", image, request)
        if answer.get("answer") == "unsupported":
            return self._places.rootfs(image, request)
        return None if answer["rootfs"] is None else Path(answer["rootfs"])

    def close(self) -> None:
        """Nothing is left running: each child ends with its operation."""

    def _child(self, operation: str, image: str, request: PullRequest) -> _Child:
        stderr = self.directory / f"{self.next_name()}.err"
        return _Child(self.profile, operation, image, request, stderr)

    def _ask(self, operation: str, image: str, request: PullRequest) -> Mapping[str, Any]:
        child = self._child(operation, image, request)
        answered = child.answer(_QUESTION_S)
        status = child.end()
        who = f"{self.profile.name}: {operation} of {image}"
        if answered is None:
            raise HarnessError(f"{who}: no answer after {_QUESTION_S:g} s")
        word, value = answered
        if word != "answer":
            words = value if word == "crash" else f"ended with status {status}"
            raise HarnessError(f"{who} crashed: {words}")
        found: Mapping[str, Any] = value
        return found
