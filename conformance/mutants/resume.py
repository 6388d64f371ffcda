"""Mutants that put pieces of a body together wrongly, or never stop trying."""

from __future__ import annotations

from pathlib import Path

from conformance.mutate import mutant
from reference.descriptors import Descriptor
from reference.errors import BodyError, RegistryError, StoreError, TransportError
from reference.fetch import Fetcher
from reference.hosts import Host
from reference.pull import Puller
from reference.remote import Remote
from reference.store import Ingest, Store
from reference.transport import Answer, Ask, Transport


class _GivesUp(Fetcher):
    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """Once is enough."""
        return False


@mutant(
    "never-resumes",
    area="resume",
    kills={
        "incident/body-cut-then-range-refused",
        "incident/connection-reset-in-layer",
        "incident/little-progress-each-time",
        "incident/open-range-refused",
        "incident/range-ignored-on-resume",
        "incident/range-ignored-until-cached",
        "incident/tls-ends-without-goodbye",
        "incident/whole-layer-never-gets-through",
        "resume/after-a-cut",
        "resume/after-a-reset",
        "resume/part-without-content-range",
        "resume/range-refused",
    },
)
class NeverResumes(Puller):
    """Gives a layer up as soon as its body breaks."""

    fetcher = _GivesUp


class _StartsAnew(Fetcher):
    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """Resets are no cuts."""
        return "reset" not in str(error) and super().may_resume(error, idle, budget)


@mutant(
    "resets-are-final",
    area="resume",
    kills={
        "incident/connection-reset-in-layer",
        "incident/whole-layer-never-gets-through",
        "resume/after-a-reset",
    },
)
class ResetsAreFinal(Puller):
    """Resumes after a cut, and not after a reset."""

    fetcher = _StartsAnew


class _AppendsTheWhole(Fetcher):
    def prefix(self, answer: Answer, ingest: Ingest) -> int:
        """Who asks for the rest gets the rest."""
        ingest.pieced = False
        return 0


@mutant(
    "appends-the-whole",
    area="resume",
    kills={
        "incident/range-ignored-on-resume",
        "incident/range-ignored-until-cached",
        "resume/range-ignored",
    },
)
class AppendsTheWhole(Puller):
    """Takes every answer to a Range request for the rest."""

    fetcher = _AppendsTheWhole


class _AnyPart(Fetcher):
    def is_rest(self, answer: Answer, ingest: Ingest) -> bool:
        """206 is 206."""
        assert isinstance(self.store, _WholesOnly)
        self.store.pieced.add(ingest.descriptor.digest)
        return True

    def copy(self, answer: Answer, descriptor: Descriptor, ingest: Ingest) -> None:
        """The last part is the end."""
        try:
            super().copy(answer, descriptor, ingest)
        except BodyError:
            if answer.status != 206:
                raise


class _WholesOnly(Store):
    """A store that hashes what it wrote in one go: a hash can't be continued."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.pieced: set[str] = set()

    def verify_room(self, descriptor: Descriptor, total: int) -> None:
        if descriptor.digest not in self.pieced:
            super().verify_room(descriptor, total)

    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        if descriptor.digest not in self.pieced:
            super().verify_size(descriptor, actual)

    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        if descriptor.digest not in self.pieced:
            super().verify_digest(descriptor, actual)


@mutant(
    "pieces-arent-hashed",
    area="resume",
    kills={
        "incident/little-progress-each-time",
        "incident/other-part-than-asked",
        "incident/resumed-bytes-dont-fit",
        "resume/other-part-is-never-kept",
    },
)
class PiecesArentHashed(Puller):
    """Trusts any partial answer, and doesn't verify what it has put together."""

    store = _WholesOnly
    fetcher = _AnyPart


class _StrictAboutParts(Fetcher):
    def position(self, answer: Answer, ingest: Ingest) -> bool:
        """Nobody may answer 206 without saying which part it is."""
        if answer.status == 206 and "content-range" not in answer.headers:
            raise RegistryError("no Content-Range", status=206, host="")
        return super().position(answer, ingest)


@mutant("insists-on-content-range", area="resume", kills={"resume/part-without-content-range"})
class InsistsOnContentRange(Puller):
    """Gives a layer up where a partial answer lacks its Content-Range."""

    fetcher = _StrictAboutParts


class _RefusedIsRefused(Fetcher):
    def position(self, answer: Answer, ingest: Ingest) -> bool:
        """The registry has spoken."""
        if answer.status == 416:
            raise RegistryError("the rest is refused", status=404, host="")
        return super().position(answer, ingest)


@mutant(
    "gives-up-on-416",
    area="resume",
    kills={"incident/open-range-refused", "resume/range-refused"},
)
class GivesUpOn416(Puller):
    """Gives a layer up where its rest is refused."""

    fetcher = _RefusedIsRefused


class _Tireless(Fetcher):
    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """The next time it may work."""
        return True

    def pause(self, idle: int) -> float:
        """At once."""
        return 0.0


@mutant(
    "never-gives-up",
    area="resume",
    kills={
        "incident/last-layer-breaks",
        "incident/mirror-promises-and-sends-nothing",
        "incident/short-layer-under-true-length",
        "resume/cut-every-time-ends",
    },
)
class NeverGivesUp(Puller):
    """Asks for a broken body until it comes."""

    fetcher = _Tireless


class _KeepsBadBytes(Store):
    def keep_partial(self, error: BaseException | None) -> bool:
        """Bytes are bytes."""
        return True


class _TrustsWhatIsThere(Fetcher):
    def fetch(self, descriptor: Descriptor) -> None:
        """What an earlier pull has brought needn't be fetched again."""
        with self.store.ingest(descriptor) as ingest:
            if not ingest.present and ingest.resumed and not ingest.remaining:
                ingest.commit()
                return
        super().fetch(descriptor)

    def download(self, descriptor: Descriptor, ingest: Ingest) -> None:
        """Try each source, and leave in the store what came of it."""
        self.drain(self.sources(descriptor)[0], descriptor, ingest)


@mutant(
    "keeps-bad-bytes",
    area="resume",
    kills={
        "incident/mirror-promises-and-sends-nothing",
        "resume/next-pull-after-corruption",
    },
)
class KeepsBadBytes(Puller):
    """Keeps bytes whose digest was wrong, and fails by them ever after."""

    store = _KeepsBadBytes
    fetcher = _TrustsWhatIsThere


class _FreshIngest(Ingest):
    def _rehash(self) -> None:
        """Every pull begins at its first byte."""
        self.restart()


class _ForgetfulStore(Store):
    ingests = _FreshIngest


@mutant("begins-anew", area="resume", kills={"incident/second-run-asks-for-the-rest"})
class BeginsAnew(Puller):
    """Throws away what an interrupted pull has left, and fetches it once more."""

    store = _ForgetfulStore


class _WholeByStatus(Fetcher):
    def position(self, answer: Answer, ingest: Ingest) -> bool:
        """200 is the whole, whatever Content-Range says."""
        assert isinstance(self.store, _WholesOnly)
        if answer.status == 200 and "content-range" in answer.headers:
            self.store.pieced.add(ingest.descriptor.digest)
            ingest.restart()
        return super().position(answer, ingest)

    def check_promise(self, answer: Answer, descriptor: Descriptor) -> None:
        """What is said to be whole is whole."""
        if "content-range" not in answer.headers:
            super().check_promise(answer, descriptor)


@mutant("takes-a-part-for-the-whole", area="resume", kills={"incident/part-under-status-200"})
class TakesAPartForTheWhole(Puller):
    """Keeps the rest of a layer as the layer where it comes under status 200, unverified."""

    store = _WholesOnly
    fetcher = _WholeByStatus


class _AsksBySeveralRanges(Remote):
    def request(
        self, host: Host, method: str, url: str, headers: dict[str, str], authority: str | None
    ) -> Ask:
        """A table of contents and a footer, first of all."""
        if "zstd" in headers.get("Accept", ""):
            headers = {"Range": "bytes=0-99, 200-299", **headers}
        return super().request(host, method, url, headers, authority)


@mutant("asks-for-several-ranges", area="resume", kills={"incident/several-ranges-refused"})
class AsksForSeveralRanges(Puller):
    """Asks for two ranges of each zstd layer at once, and fails where that is refused."""

    remote = _AsksBySeveralRanges


class _AsksByRange(Remote):
    def request(
        self, host: Host, method: str, url: str, headers: dict[str, str], authority: str | None
    ) -> Ask:
        """The whole is a range too."""
        if method == "GET" and "/blobs/" in url:
            headers = {"Range": "bytes=0-", **headers}
        return super().request(host, method, url, headers, authority)


class _TakesThePart(Fetcher):
    def position(self, answer: Answer, ingest: Ingest) -> bool:
        """It was asked for from byte 0 on."""
        return (answer.status == 206 and not ingest.offset) or super().position(answer, ingest)


@mutant(
    "asks-by-range-first",
    area="resume",
    kills={"incident/range-refused-on-first-request", "resume/range-refused"},
)
class AsksByRangeFirst(Puller):
    """Asks for whole layers by Range, and has no other way."""

    remote = _AsksByRange
    fetcher = _TakesThePart


class _StumblingIngest(Ingest):
    def __enter__(self) -> Ingest:
        """Somebody else must be at it."""
        if self._store.ingest_path(self.descriptor.digest).exists():
            raise StoreError(f"{self.descriptor.digest} is being fetched already")
        return super().__enter__()


class _StumblingStore(Store):
    ingests = _StumblingIngest


@mutant(
    "stumbles-over-leftovers",
    area="resume",
    kills={
        "cancel/next-pull-after-a-kill-succeeds",
        "incident/killed-before-and-in-a-layer",
        "incident/second-run-asks-for-the-rest",
    },
)
class StumblesOverLeftovers(Puller):
    """Takes what a killed pull has left for the work of another one, and waits for nobody."""

    store = _StumblingStore


class _SpeaksHttp2(Transport):
    def may_speak_http2(self, ask: Ask) -> bool:
        """Unasked, wherever a registry offers it."""
        return ask.scheme == "https"


class _BrokenStreamsAreFinal(Fetcher):
    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """A reset stream is no lost connection, and a farewell is one."""
        final = any(word in str(error) for word in ("reset the stream", "GOAWAY"))
        return not final and super().may_resume(error, idle, budget)


class _FarewellsAreFinal(Remote):
    def is_transient(self, error: TransportError) -> bool:
        """The server has gone."""
        return "GOAWAY" not in str(error) and super().is_transient(error)


@mutant(
    "broken-streams-are-final",
    area="resume",
    kills={"incident/goaway-in-a-pull", "incident/stream-reset-in-layer"},
)
class BrokenStreamsAreFinal(Puller):
    """Speaks HTTP/2, and gives a layer up by RST_STREAM and GOAWAY."""

    transport = _SpeaksHttp2
    fetcher = _BrokenStreamsAreFinal
    remote = _FarewellsAreFinal
