"""The ``python`` kind: a callable, run in a forked child that can be killed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.contract import HarnessError, Outcome, PullRequest, Running, Status
from conformance.evidence import Layout
from conformance.isolation import HOSTS, current
from conformance.profile import Profile
from conformance.pullers.answers import Places, checked_answer, outcome_of, status_of
from conformance.pullers.base import BaseSession
from conformance.pullers.forkserver import ForkServer, Job, server_for
from conformance.pullers.process import read_bounded

__all__ = ["PythonSession"]

_QUESTION_S = 20.0


class RunningPython:
    """A pull by a callable."""

    def __init__(
        self, job: Job, stderr: Path, request: PullRequest, budget_s: float, places: Places
    ) -> None:
        self._job = job
        self._stderr = stderr
        self._request = request
        self._budget_s = budget_s
        self._places = places
        self._ended_by: str | None = None

    def wait(self) -> Outcome:
        """The outcome; when the budget is used up, the child's group is killed first."""
        job = self._job
        ended = job.wait(max(0.0, self._budget_s - (time.monotonic() - job.started)))
        seconds = time.monotonic() - job.started
        if not ended:
            job.kill()
        facts: dict[str, Any] = {"seconds": seconds, "stderr": read_bounded(self._stderr)}
        if not ended:
            return Outcome("hung", f"still running after {self._budget_s:g} s", **facts)
        result = job.result or {}
        if "answer" in result:
            kinds = {"pulled", "failed", "unsupported"}
            document = checked_answer(result["answer"], "the puller", kinds)
            if document["answer"] == "pulled":
                self._places.note(self._request, document)
            return Outcome(**{**vars(outcome_of(document)), **facts})
        if self._ended_by is not None:
            return Outcome("failed", self._ended_by, code=self._ended_by, **facts)
        words = result.get("crash") or f"ended with status {job.status}"
        return Outcome("crashed", words, exit_status=job.status, **facts)

    def cancel(self) -> None:
        """SIGINT: KeyboardInterrupt in the child's main thread."""
        self._ended_by = "cancelled"
        self._job.interrupt()

    def kill(self) -> None:
        """SIGKILL."""
        self._ended_by = "killed"
        self._job.kill()


class PythonSession(BaseSession):
    """One session: a child for each operation."""

    def __init__(self, profile: Profile, directory: Path) -> None:
        super().__init__(profile, directory)
        self._places = Places()

    def begin(self, request: PullRequest, budget_s: float) -> Running:
        """Fork a child that pulls."""
        stderr = self.directory / f"{self.next_name()}.err"
        job = self._job("pull", request.image, request, stderr)
        return RunningPython(job, stderr, request, budget_s, self._places)

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
        # A puller that fails to show what it said it has doesn't have it.
        place = None if answer.get("answer") == "failed" else answer["layout"]
        return None if place is None else Layout.of_store(Path(place[0]), place[1])

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """By the puller's own ``rootfs``, or the last pull's."""
        answer = self._ask("rootfs", image, request)
        if answer.get("answer") == "unsupported":
            return self._places.rootfs(image, request)
        if answer.get("answer") == "failed" or answer["rootfs"] is None:
            return None
        return Path(answer["rootfs"])

    def close(self) -> None:
        """Nothing is left running: each child ends with its operation."""

    def _server(self) -> ForkServer:
        """The server that has this puller loaded."""
        table = self.profile.table("python")
        targets = [table["entry"], *table.get("refusals", ())]
        # An argument such as 'module:Class' is a target of the puller's own: load it beforehand.
        arguments = table.get("arguments", {}).values()
        targets += [each for each in arguments if ":" in each and "/" not in each]
        return server_for(tuple(dict.fromkeys(each.partition(":")[0] for each in targets)))

    def _job(self, operation: str, image: str, request: PullRequest, stderr: Path) -> Job:
        table = self.profile.table("python")
        return self._server().job(
            {
                "entry": table["entry"],
                "arguments": table.get("arguments", {}),
                "refusals": table.get("refusals", []),
                "operation": operation,
                "image": image,
                "request": request.to_json(),
                "stderr": str(stderr),
                # Inside a private network the hosts file knows the names, for every process alike.
                "names": {} if current().private else HOSTS,
            }
        )

    def _ask(self, operation: str, image: str, request: PullRequest) -> Mapping[str, Any]:
        stderr = self.directory / f"{self.next_name()}.err"
        job = self._job(operation, image, request, stderr)
        who = f"{self.profile.name}: {operation} of {image}"
        if not job.wait(_QUESTION_S):
            job.kill()
            raise HarnessError(f"{who}: no answer after {_QUESTION_S:g} s")
        result = job.result or {}
        if "answer" not in result:
            words = result.get("crash") or f"ended with status {job.status}"
            raise HarnessError(f"{who} crashed: {words}")
        found: Mapping[str, Any] = result["answer"]
        return found
