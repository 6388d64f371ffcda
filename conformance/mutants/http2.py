"""Mutants that speak HTTP/2, and take what it alone can say for something else."""

from __future__ import annotations

from typing import Any

import httpx

from conformance.mutate import mutant
from reference.descriptors import Descriptor
from reference.errors import BodyError, TransportError
from reference.fetch import Fetcher, Source
from reference.http2 import Patient, PatientStream
from reference.progress import ProgressReporter
from reference.pull import Puller
from reference.remote import Remote
from reference.store import Ingest, Store
from reference.transport import Transport


class _RefusedForGood(Remote):
    def is_transient(self, error: TransportError) -> bool:
        """A no is a no."""
        return "REFUSED_STREAM" not in str(error) and super().is_transient(error)


@mutant("refused-streams-are-final", area="http2", kills={"http2/refused-stream-is-asked-again"})
class RefusedStreamsAreFinal(Puller):
    """Fails where a stream is refused."""

    remote = _RefusedForGood


class _GoneForGood(Remote):
    def is_transient(self, error: TransportError) -> bool:
        """Whoever says goodbye has gone."""
        return "GOAWAY" not in str(error) and super().is_transient(error)


@mutant("goaway-is-final", area="http2", kills={"http2/goaway-that-took-nothing"})
class GoawayIsFinal(Puller):
    """Fails where a server says GOAWAY in place of an answer."""

    remote = _GoneForGood


class _HearsNoFarewell(PatientStream):
    def get_extra_info(self, info: str) -> Any:
        """Still there, isn't it?"""
        return self._inner.get_extra_info(info)


class _Clinging(Patient):
    stream = _HearsNoFarewell


class _ClingsToConnections(Transport):
    patient = _Clinging


@mutant("clings-to-connections", area="http2", kills={"http2/goaway-ends-a-connection"})
class ClingsToConnections(Puller):
    """Goes on asking on a connection that said GOAWAY."""

    transport = _ClingsToConnections


class _NeverResumed(Fetcher):
    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """A stream that was reset is done with."""
        return "reset the stream" not in str(error) and super().may_resume(error, idle, budget)


@mutant("reset-streams-are-final", area="http2", kills={"http2/reset-in-a-layer"})
class ResetStreamsAreFinal(Puller):
    """Fails where a layer's stream is reset, and knows cuts of connections alone."""

    fetcher = _NeverResumed


class _OldFashioned(Transport):
    def requires_http1(self, error: httpx.HTTPError) -> bool:
        """Nobody can want that."""
        return False


@mutant("knows-no-way-back", area="http2", kills={"http2/http-1-1-required"})
class KnowsNoWayBack(Puller):
    """Doesn't go back to HTTP/1.1 where it is required."""

    transport = _OldFashioned


class _Careless(Store):
    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        """The end of a stream is the end."""

    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """And what came before it is the content."""


class _TakesShortBodies(Fetcher):
    ends = "Expected"
    """What the words of an error begin with that isn't one."""

    def drain(self, source: Source, descriptor: Descriptor, ingest: Ingest) -> None:
        """A body may end in many ways."""
        try:
            super().drain(source, descriptor, ingest)
        except TransportError as error:
            if self.ends not in str(error):
                raise
            ingest.commit()


@mutant(
    "short-streams-are-whole",
    area="http2",
    kills={"http2/short-stream-is-never-kept"},
)
class ShortStreamsAreWhole(Puller):
    """Takes the end of a stream for the end of the body, and compares nothing."""

    store = _Careless
    fetcher = _TakesShortBodies


class _TakesNoError(_TakesShortBodies):
    ends = "(NO_ERROR)"


@mutant(
    "no-error-is-an-end",
    area="http2",
    kills={"http2/no-error-is-no-end", "http2/short-stream-is-never-kept"},
)
class NoErrorIsAnEnd(Puller):
    """Takes RST_STREAM by NO_ERROR for a good end, and compares nothing."""

    store = _Careless
    fetcher = _TakesNoError


class _NoWatch(ProgressReporter):
    def look(self, now: float) -> bool:
        """Others are still talking."""
        return False


@mutant("streams-may-stall", area="http2", kills={"http2/stalled-stream-is-given-up"})
class StreamsMayStall(Puller):
    """Waits for ever for a stream that gets no more data."""

    progress = _NoWatch
