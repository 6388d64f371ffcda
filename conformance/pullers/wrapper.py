"""The ``wrapper`` kind: any executable that reads one JSON object and writes one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.contract import (
    CONTRACT_VERSION,
    HarnessError,
    Outcome,
    PullRequest,
    Running,
    Status,
)
from conformance.evidence import Layout
from conformance.profile import Profile
from conformance.pullers.answers import Places, checked_answer, outcome_of, status_of
from conformance.pullers.base import BaseSession, last_line
from conformance.pullers.hostfiles import write_hosts_tree
from conformance.pullers.process import Child, crash_words, environment, read_bounded
from conformance.pullers.template import expand
from conformance.pullers.values import hosts_form, request_values, session_values, write_files

__all__ = ["WrapperSession"]

_QUESTION_S = 20.0


class RunningWrapper:
    """A pull by a wrapper."""

    def __init__(self, child: Child, request: PullRequest, budget_s: float, places: Places) -> None:
        self._child = child
        self._request = request
        self._budget_s = budget_s
        self._places = places
        self._ended_by: str | None = None

    def wait(self) -> Outcome:
        """The outcome: what the answer says, or how the process died without one."""
        child = self._child
        status = child.wait(self._budget_s)
        if status is None:
            child.kill()
        stderr = read_bounded(child.stderr)
        facts: dict[str, Any] = {
            "exit_status": status,
            "stderr": stderr,
            "argv": child.argv,
            "seconds": child.seconds,
        }
        if status is None:
            return Outcome("hung", f"still running after {self._budget_s:g} s", **facts)
        if status != 0:
            if self._ended_by is not None:
                return Outcome("failed", self._ended_by, code=self._ended_by, **facts)
            words = crash_words(stderr)
            if status < 0 or words is not None:
                return Outcome("crashed", words or f"killed by signal {-status}", **facts)
        document = _answer_of(child, status, {"pulled", "failed", "unsupported"})
        outcome = replace(outcome_of(document), **facts)
        if outcome.kind == "pulled":
            self._places.note(self._request, document)
        return outcome

    def cancel(self) -> None:
        """Ctrl-C."""
        self._ended_by = "cancelled"
        self._child.interrupt()

    def kill(self) -> None:
        """SIGKILL to its group."""
        self._ended_by = "killed"
        self._child.kill()


class WrapperSession(BaseSession):
    """One session: a process for each operation."""

    def __init__(self, profile: Profile, directory: Path, programs: Mapping[str, str]) -> None:
        super().__init__(profile, directory)
        self._values = session_values(profile, directory, programs)
        self._places = Places()
        write_files(profile, self._values)

    def begin(self, request: PullRequest, budget_s: float) -> Running:
        """Start the executable with the request on its standard input."""
        child = self._child({"operation": "pull", "request": self._document(request)}, request)
        return RunningWrapper(child, request, budget_s, self._places)

    def ask(self, document: Mapping[str, Any], expected: set[str]) -> Mapping[str, Any]:
        """Send any operation and return its answer, which is of an expected kind."""
        child = self._child(document, None)
        status = child.wait(_QUESTION_S)
        if status is None:
            child.kill()
            raise HarnessError(f"{child.argv[0]}: no answer after {_QUESTION_S:g} s")
        return _answer_of(child, status, expected)

    def status(self, image: str, request: PullRequest) -> Status:
        """By the operation 'status'; where that is unsupported, by the layout."""
        answer = self.ask(self._about("status", image, request), {"status", "unsupported"})
        if answer["answer"] == "unsupported":
            return super().status(image, request)
        return status_of(answer)

    def remove(self, image: str, request: PullRequest) -> bool:
        """By the operation 'remove'."""
        answer = self.ask(self._about("remove", image, request), {"removed", "unsupported"})
        return bool(answer["answer"] == "removed")

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        """The layout that the last pull named."""
        return self._places.layout(image, request)

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """The tree that the last pull named."""
        return self._places.rootfs(image, request)

    def close(self) -> None:
        """Nothing is left running: each process ends with its operation."""

    def _about(self, operation: str, image: str, request: PullRequest) -> dict[str, Any]:
        return {"operation": operation, "image": image, "request": self._document(request)}

    def _document(self, request: PullRequest) -> dict[str, Any]:
        document = request.to_json()
        if request.hosts or request.hosts_tree is not None:
            folder = self.directory / f"hosts-{self.next_name()}"
            document["hosts_dir"] = str(write_hosts_tree(folder, request, hosts_form(self.profile)))
        return document

    def _child(self, document: Mapping[str, Any], request: PullRequest | None) -> Child:
        values = self._values
        if request is not None:
            values = request_values(values, self.profile, self.directory, request)
        table = self.profile.table("wrapper")
        own = {key: expand(text, values) for key, text in self.profile.table("env").items()}
        return Child(
            [expand(argument, self._values) for argument in table["argv"]],
            env=environment(self.directory, own, self.profile.tables.get("pass_env", ())),
            folder=self.directory,
            name=self.next_name(),
            stdin=json.dumps({"version": CONTRACT_VERSION, **document}).encode(),
        )


def _answer_of(child: Child, status: int, expected: set[str]) -> Mapping[str, Any]:
    who = child.argv[0]
    if status != 0:
        words = last_line(read_bounded(child.stderr)) or "it said nothing on stderr"
        raise HarnessError(f"{who} ended with status {status} instead of an answer: {words}")
    try:
        document = json.loads(child.stdout.read_bytes())
    except ValueError:
        shown = read_bounded(child.stdout).strip()[:80]
        raise HarnessError(f"{who} wrote no JSON object but {shown!r}") from None
    return checked_answer(document, who, expected)
