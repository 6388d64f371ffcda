"""What the adapters share: finished pulls, sessions that wait, an outcome read from a status."""

from __future__ import annotations

import re
import signal
from abc import ABC, abstractmethod
from pathlib import Path

from conformance.contract import Outcome, PullRequest, Running, Status
from conformance.evidence import Layout
from conformance.profile import Profile
from conformance.pullers.process import Child, crash_words, read_bounded

__all__ = ["BaseSession", "Finished", "last_line", "outcome_of_exit"]


class Finished:
    """A pull that was over before it began."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def wait(self) -> Outcome:
        """The outcome."""
        return self.outcome

    def cancel(self) -> None:
        """Nothing is left to cancel."""

    def kill(self) -> None:
        """Nothing is left to kill."""


class BaseSession(ABC):
    """A session whose `pull` is `start` and a wait; evidence it has none of unless overridden."""

    def __init__(self, profile: Profile, directory: Path) -> None:
        self.profile = profile
        self.directory = directory
        self._pulls = 0

    def next_name(self) -> str:
        """A name for the next operation's files."""
        self._pulls += 1
        return f"{self._pulls:02d}"

    def lacking(self, request: PullRequest) -> str | None:
        """The first input of the request that this puller can't be given."""
        missing = request.inputs() - self.profile.inputs
        return min(missing) if missing else None

    def pull(self, request: PullRequest, budget_s: float) -> Outcome:
        """Pull and wait."""
        return self.start(request, budget_s).wait()

    def start(self, request: PullRequest, budget_s: float) -> Running:
        """Begin a pull, or say at once which input can't be given."""
        lacking = self.lacking(request)
        if lacking is not None:
            return Finished(Outcome("unsupported", feature=lacking))
        return self.begin(request, budget_s)

    @abstractmethod
    def begin(self, request: PullRequest, budget_s: float) -> Running:
        """Begin a pull of which all inputs can be given."""

    def status(self, image: str, request: PullRequest) -> Status:
        """Present if the layout has it: what a puller without records of its own can show."""
        layout = self.layout(image, request)
        return Status(False) if layout is None else Status(True, digest=layout.root)

    def remove(self, image: str, request: PullRequest) -> bool:
        """No way to remove."""
        return False

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        """No layout."""
        return None

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """No unpacked tree."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Stop what was started."""


_LOGGED = re.compile(r'time="[^"]*" level=\w+ msg="(.*)"')


def last_line(text: str) -> str:
    """The last line that says something: where command lines put their error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    # Programs that log by logrus wrap their error in fields that only matter to a log.
    match = _LOGGED.fullmatch(lines[-1])
    return match[1].replace('\\"', '"') if match else lines[-1]


def outcome_of_exit(child: Child, status: int) -> Outcome:
    """Read a command line's end: 0 pulled, a signal or a panic crashed, anything else failed."""
    stderr = read_bounded(child.stderr)
    words = crash_words(stderr)
    if status < 0:
        kind, error = "crashed", f"killed by {signal.Signals(-status).name}"
    elif words is not None and status != 0:
        kind, error = "crashed", words
    elif status == 0:
        kind, error = "pulled", ""
    else:
        kind, error = "failed", last_line(stderr) or f"exit status {status}"
    return Outcome(
        kind,  # type: ignore[arg-type]
        error,
        exit_status=status,
        stderr=stderr,
        argv=child.argv,
        seconds=child.seconds,
    )
