"""Mutants that mistake an answer, or can't wait."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from conformance.mutate import mutant
from reference.descriptors import Descriptor
from reference.errors import TransportError
from reference.fetch import Fetcher
from reference.pull import Puller
from reference.remote import Remote
from reference.transport import Answer, Ask, Transport


class _WantsLengths(Transport):
    def hop(self, ask: Ask) -> Answer:
        """A body without a length can't be read."""
        answer = super().hop(ask)
        if answer.status == 200 and answer.content_length is None:
            answer.close()
            raise TransportError("an answer without Content-Length")
        return answer


@mutant(
    "wants-lengths",
    area="transport",
    kills={
        "incident/blob-without-length",
        "incident/manifest-without-length",
        "transport/chunked-bodies-are-read",
    },
)
class WantsLengths(Puller):
    """Reads no body that doesn't state its length."""

    transport = _WantsLengths


class _OneConnection(Transport):
    def hop(self, ask: Ask) -> Answer:
        """Whoever hangs up won't be back."""
        answer = super().hop(ask)
        if "close" in answer.headers.get("connection", ""):
            answer.close()
            raise TransportError("the registry hangs up")
        return answer


@mutant("wants-keep-alive", area="transport", kills={"transport/connection-per-answer"})
class WantsKeepAlive(Puller):
    """Takes a connection that is closed for a registry that has gone."""

    transport = _OneConnection


class _Obedient(Transport):
    def hop(self, ask: Ask) -> Answer:
        """Do as the warning says."""
        answer = super().hop(ask)
        if "warning" in answer.headers:
            answer.close()
            raise TransportError(f"warned: {answer.headers['warning']}")
        return answer


@mutant("acts-on-warnings", area="transport", kills={"transport/warnings-change-nothing"})
class ActsOnWarnings(Puller):
    """Refuses an image because of a warning."""

    transport = _Obedient


class _TakesNoForAnAnswer(Remote):
    def retry_after(self, answer: Answer) -> float | None:
        """What is busy is busy."""
        return None if answer.status != 429 else float("inf")


@mutant(
    "gives-up-on-429",
    area="transport",
    kills={
        "incident/retry-after-as-a-date",
        "incident/retry-after-in-microseconds",
        "incident/retry-after-is-no-time",
        "incident/retry-after-of-no-seconds",
        "incident/too-many-requests",
        "incident/too-many-requests-as-a-web-page",
        "transport/one-429-is-survived",
    },
)
class GivesUpOn429(Puller):
    """Ends the pull by the first 'too many requests'."""

    remote = _TakesNoForAnAnswer


class _Impatient(Remote):
    def retry_after(self, answer: Answer) -> float | None:
        """Sooner is better."""
        return None


@mutant(
    "ignores-retry-after",
    area="transport",
    kills={
        "incident/retry-after-as-a-date",
        "transport/retry-after-is-waited-for",
    },
)
class IgnoresRetryAfter(Puller):
    """Tries again when it likes, whatever time the registry names."""

    remote = _Impatient


class _ErrorsAreFinal(Remote):
    def retry_after(self, answer: Answer) -> float | None:
        """What is broken is broken."""
        return float("inf") if answer.status >= 500 else super().retry_after(answer)


@mutant(
    "gives-up-on-server-errors",
    area="transport",
    kills={
        "incident/bad-gateway-once",
        "incident/server-errors-in-a-row",
        "transport/one-500",
        "transport/one-503",
    },
)
class GivesUpOnServerErrors(Puller):
    """Ends the pull by the first 5xx."""

    remote = _ErrorsAreFinal


class _Undecoded(Transport):
    def request(self, ask: Ask, timeouts: dict[str, float | None]) -> httpx.Request:
        """Less is faster."""
        request = super().request(ask, timeouts)
        request.headers["Accept-Encoding"] = "gzip, zstd"
        return request

    def hop(self, ask: Ask) -> Answer:
        """Bytes are bytes."""
        answer = super().hop(ask)
        answer.headers.pop("content-encoding", None)
        return answer


@mutant(
    "asks-for-codings-and-keeps-them",
    area="transport",
    kills={"incident/proxy-compresses"},
)
class AsksForCodingsAndKeepsThem(Puller):
    """Accepts gzip and zstd on the wire, and takes what comes for the content itself."""

    transport = _Undecoded


class _BelievesLabels(Fetcher):
    def pieces(self, answer: Answer, descriptor: Descriptor) -> Iterator[bytes]:
        """What is labelled is coded."""
        return answer.chunks()


@mutant("believes-coding-labels", area="transport", kills={"incident/layer-labelled-as-coded"})
class BelievesCodingLabels(Puller):
    """Decodes a layer because a header says that it is coded, though it is of the right length."""

    fetcher = _BelievesLabels
