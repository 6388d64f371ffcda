"""How one pull ended, or is going: what `CasePuller` hands to a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from conformance.contract import Outcome, PullRequest, Running
from fakeregistry import Image

__all__ = ["NotApplicable", "Pulled", "RunningPull"]


class NotApplicable(Exception):  # noqa: N818 - the verdict's own word
    """This puller can't be asked this. One line says what it lacks."""


@dataclass
class Pulled:
    """How one pull ended, in words that read well after ``assert``."""

    outcome: Outcome
    image: Image | None
    request: PullRequest
    limited: bool
    problems: list[str] = field(default_factory=list)
    unclear: str = ""
    told: bool = False
    cached: bool = False

    @property
    def succeeded(self) -> bool:
        """The puller said that it has the image. Whether it is right is checked by itself."""
        return self.outcome.kind == "pulled"

    @property
    def refused(self) -> bool:
        """A clean failure: no signal, no panic, no time-out."""
        return self.outcome.kind == "failed"

    @property
    def crashed(self) -> bool:
        """Died by a signal, panicked, or took its daemon along."""
        return self.outcome.kind == "crashed"

    @property
    def hung(self) -> bool:
        """Had to be killed when its time was over."""
        return self.outcome.kind == "hung"

    @property
    def error(self) -> str:
        """The refusal in the puller's own words."""
        return self.outcome.error

    @property
    def image_id(self) -> str | None:
        """Digest of the config, where the puller reports it."""
        return self.outcome.image_id

    @property
    def digest(self) -> str | None:
        """Digest of the manifest or index, where the puller reports it."""
        return self.outcome.digest

    @property
    def seconds(self) -> float:
        """Wall time of the pull."""
        return self.outcome.seconds

    def says(self, *words: str) -> bool:
        """Whether error and stderr hold one of the words (any case); if not, it is unclear."""
        text = f"{self.outcome.error}\n{self.outcome.stderr}".lower()
        if any(word.lower() in text for word in words):
            return True
        self.unclear = f"none of {', '.join(map(repr, words))} in the error"
        return False

    def tells(self, secret: str) -> bool:
        """Whether error and stderr hold a secret as it is; if so, it has leaked."""
        self.told = secret in f"{self.outcome.error}\n{self.outcome.stderr}"
        return self.told


class RunningPull:
    """A pull on its way."""

    def __init__(self, running: Running, pulled: Pulled, ended: Callable[[Pulled], None]) -> None:
        self._ended = ended
        self._running = running
        self._pulled = pulled
        self._done = False

    @property
    def pulled(self) -> Pulled:
        """What is known of it now; its outcome counts after `wait`."""
        return self._pulled

    def wait(self) -> Pulled:
        """Its end, at the latest when its time is over."""
        if not self._done:
            self._pulled.outcome = self._running.wait()
            self._done = True
            self._ended(self._pulled)
        return self._pulled

    def cancel(self) -> None:
        """Ask the puller to give up, as its user would."""
        self._pulled.limited = True
        self._running.cancel()

    def kill(self) -> None:
        """End the puller as a power cut would."""
        self._pulled.limited = True
        self._running.kill()
