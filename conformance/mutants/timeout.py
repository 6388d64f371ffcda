"""Mutants that wait for ever, or not long enough."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from conformance.mutate import mutant
from reference.config import Config
from reference.descriptors import Descriptor
from reference.errors import BodyError, ProgressTimeout
from reference.fetch import Fetcher
from reference.progress import Cancellation, ProgressReporter
from reference.pull import Puller
from reference.remote import Remote
from reference.store import Ingest, Store
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
        "incident/quiet-once-and-broken-near-the-end",
        "incident/stalled-fetch-and-a-second-pull",
        "incident/tls-stalls-inside-a-record",
        "incident/token-service-never-answers",
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
        "incident/token-service-never-answers",
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
    kills={
        "incident/first-byte-after-eleven-seconds",
        "incident/retry-after-as-a-date",
        "timeouts/drip-is-progress",
        "timeouts/slow-body-is-waited-for",
    },
)
class AlwaysInAHurry(Puller):
    """Gives every pull two seconds, whatever comes."""

    def __init__(self, config: Config, root: Path) -> None:
        super().__init__(replace(config, timeout=2.0), root)


@mutant(
    "has-all-the-time",
    area="timeouts",
    kills={
        "incident/layer-comes-a-byte-at-a-time",
        "timeouts/timeout-ends-the-pull",
    },
)
class HasAllTheTime(Puller):
    """Takes no notice of the time that a pull was given."""

    @contextmanager
    def deadline(self, cancellation: Cancellation) -> Iterator[None]:
        """It takes what it takes."""
        yield


class _SeesItOff(Transport):
    def hop(self, ask: Ask) -> Answer:
        """Whoever says that the connection ends has more to say until it does."""
        answer = super().hop(ask)
        if answer.headers.get("connection") == "close":
            answer.headers.pop("content-length", None)
            answer.__class__ = _UntilTheEnd
        return answer


class _UntilTheEnd(Answer):
    def _raw(self) -> Iterator[bytes]:
        """The body, and then the end of the connection."""
        yield from super()._raw()
        self._transport.cancellation.wait(threading.TIMEOUT_MAX)


@mutant(
    "waits-for-the-connection-to-end",
    area="timeouts",
    kills={"incident/held-open-after-the-last-byte"},
)
class WaitsForTheConnectionToEnd(Puller):
    """Takes the end of the connection for the end of a body whose length it knows."""

    transport = _SeesItOff


class _Restless(ProgressReporter):
    def interval(self) -> float:
        """Look often."""
        return 0.1

    def moved(self, active: int, received: int) -> bool:
        """Nothing but bytes counts, whether or not anybody was asked for some."""
        return received > self._last_bytes

    def look(self, now: float) -> bool:
        """A third of the time will do."""
        return super().look(now) or now - self._last_moved > self.timeout / 3


@mutant(
    "takes-unpacking-for-a-stall",
    area="timeouts",
    kills={"incident/unpacking-takes-longer-than-downloading"},
)
class TakesUnpackingForAStall(Puller):
    """Cancels a pull that hasn't got bytes for a while, though it asks for none."""

    progress = _Restless


class _ZeroIsNow(ProgressReporter):
    def __enter__(self) -> ProgressReporter:
        """No time is no time."""
        if self.timeout == 0:
            self.cancellation.cancel(ProgressTimeout("no progress in 0s"))
        return super().__enter__()


@mutant("zero-is-at-once", area="timeouts", kills={"incident/no-progress-limit-and-a-pause"})
class ZeroIsAtOnce(Puller):
    """Takes a progress timeout of zero for the shortest of all."""

    progress = _ZeroIsNow


class _InParts(Fetcher):
    part = 8 << 20

    def download(self, descriptor: Descriptor, ingest: Ingest) -> None:
        """First the beginning, then the rest by a request of its own; nobody repeats one."""
        if descriptor.size <= self.part:
            super().download(descriptor, ingest)
            return
        ingest.restart()
        source = self.sources(descriptor)[-1]
        with self.open(source, descriptor, 0) as answer:
            for chunk in answer.chunks():
                ingest.write(chunk[: self.part - ingest.offset])
                if ingest.offset == self.part:
                    break
        with self.open(source, descriptor, self.part) as answer:
            for chunk in answer.chunks():
                ingest.write(chunk)
        ingest.commit()


@mutant("asks-for-each-part-once", area="timeouts", kills={"incident/one-part-of-a-layer-starves"})
class AsksForEachPartOnce(Puller):
    """Fetches a large layer in parts, and gives the pull up for one that doesn't come."""

    fetcher = _InParts


class _PatientDialling(Transport):
    def hop(self, ask: Ask) -> Answer:
        """Connections take their time, whatever the user says."""
        return super().hop(replace(ask, dial_timeout=None))


@mutant("dials-for-ever", area="timeouts", kills={"incident/mirror-swallows-connections"})
class DialsForEver(Puller):
    """Takes no notice of how long a host's connection may take."""

    transport = _PatientDialling


class _Faithful(Remote):
    def patience(self) -> float | None:
        """All that the pull has."""
        return None


@mutant("stays-with-the-silent-host", area="timeouts", kills={"incident/mirror-never-answers"})
class StaysWithTheSilentHost(Puller):
    """Spends the pull's whole patience on a mirror that doesn't begin to answer."""

    remote = _Faithful


class _GivesUp(Fetcher):
    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """Once is enough."""
        return False


class _NoParts(Store):
    def keep_partial(self, error: BaseException | None) -> bool:
        """Half a layer is none."""
        return False


@mutant(
    "throws-parts-away",
    area="timeouts",
    kills={"incident/first-layer-breaks-and-others-are-there"},
)
class ThrowsPartsAway(Puller):
    """Throws away what it has of a layer at each error, and fetches all of it once more."""

    fetcher = _GivesUp
    store = _NoParts
