"""Mutants that wait for ever, or not long enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from conformance.mutate import mutant
from reference.config import Config
from reference.progress import Cancellation, ProgressReporter
from reference.pull import Puller
from reference.transport import Answer, Ask, Transport


class _Asleep(ProgressReporter):
    def look(self, now: float) -> bool:
        """All is well."""
        return False


@mutant(
    "waits-for-ever",
    area="timeouts",
    kills={
        "incident/blob-stalls",
        "incident/headers-never-come",
        "timeouts/early-stall-is-given-up",
        "timeouts/silent-registry-is-given-up",
        "timeouts/silent-token-server-is-given-up",
        "timeouts/stalled-body-is-given-up",
    },
)
class WaitsForEver(Puller):
    """Doesn't look whether a pull makes progress."""

    progress = _Asleep


class _BodiesOnly(Transport):
    def hop(self, ask: Ask) -> Answer:
        """A request is under way once its answer has begun."""
        self.reporter.end()
        try:
            return super().hop(ask)
        finally:
            self.reporter.begin()


@mutant(
    "watches-bodies-only",
    area="timeouts",
    kills={
        "incident/headers-never-come",
        "timeouts/silent-registry-is-given-up",
        "timeouts/silent-token-server-is-given-up",
    },
)
class WatchesBodiesOnly(Puller):
    """Begins to watch a request when its answer begins."""

    transport = _BodiesOnly


class _Hasty(ProgressReporter):
    def moved(self, active: int, received: int) -> bool:
        """A trickle is nothing."""
        return active == 0 or received >= self._last_bytes + 4096 or self._last_active == 0


@mutant("drops-are-nothing", area="timeouts", kills={"timeouts/drip-is-progress"})
class DropsAreNothing(Puller):
    """Doesn't count a few bytes as progress."""

    progress = _Hasty


@mutant(
    "always-in-a-hurry",
    area="timeouts",
    kills={"timeouts/drip-is-progress", "timeouts/slow-body-is-waited-for"},
)
class AlwaysInAHurry(Puller):
    """Gives every pull two seconds, whatever comes."""

    def __init__(self, config: Config, root: Path) -> None:
        super().__init__(replace(config, timeout=2.0), root)


@mutant("has-all-the-time", area="timeouts", kills={"timeouts/timeout-ends-the-pull"})
class HasAllTheTime(Puller):
    """Takes no notice of the time that a pull was given."""

    @contextmanager
    def deadline(self, cancellation: Cancellation) -> Iterator[None]:
        """It takes what it takes."""
        yield
