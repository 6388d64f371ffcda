"""Content by digest: from whichever host has it, in as many pieces as it takes, verified.

A body that breaks off is continued with a Range request from the byte where it stopped. The server
may answer with the rest (206), with everything (200: the known prefix is skipped), or with some
other part, which is thrown away. Whatever it was, only content with the descriptor's size and
digest gets a name in the store.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import httpx

from reference.config import Config
from reference.descriptors import INDEX_TYPES, MANIFEST_TYPES, Descriptor, is_foreign_type
from reference.errors import (
    AuthError,
    BodyError,
    IntegrityError,
    NotFound,
    PromiseMismatch,
    RegistryError,
    Silent,
    SizeMismatch,
    TransportError,
    safe_url,
)
from reference.hosts import Host
from reference.parts import Parts
from reference.remote import Failures, Remote, range_of
from reference.store import Ingest, Store
from reference.transport import Answer, Ask

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
FIRST_PAUSE = 0.05
"""Seconds before a body that brought no byte is asked for again; doubled for each further time."""


@dataclass(frozen=True)
class Source:
    """Where content may be had: one of the repository's hosts, or a URL of the descriptor."""

    host: Host | None = None
    url: str = ""
    last: bool = False


class Fetcher:
    """Brings content into the store."""

    def __init__(self, config: Config, remote: Remote, hosts: Sequence[Host], store: Store) -> None:
        self.config = config
        self.remote = remote
        self.hosts = hosts
        self.store = store
        self.cancellation = remote.transport.cancellation
        self.quirks = config.quirks
        limit = 0 if self.quirks.unlimited_downloads else config.max_concurrent_downloads
        self.slots = threading.Semaphore(limit) if limit else nullcontext()
        """Bodies that may come at the same time (CONC-01)."""
        self.parts = Parts(self, config.concurrent_layer_fetch_buffer, limit)

    def document(self, descriptor: Descriptor) -> bytes:
        """The bytes of a manifest, index or config, fetched if need be and bounded."""
        limit = self.config.max_manifest_size
        if descriptor.size > limit:
            raise SizeMismatch(
                f"{descriptor.digest} has {descriptor.size} bytes: more than {limit}"
            )
        self.fetch(descriptor)
        return self.store.read(descriptor.digest, limit)

    def keep(self, descriptor: Descriptor, data: bytes) -> None:
        """Put bytes that are at hand into the store, verified like any others."""
        with self.store.ingest(descriptor, wait=self.cancellation.wait) as ingest:
            if not ingest.present:
                ingest.restart()
                ingest.write(data)
                ingest.commit()

    def describe(self, media_type: str, digest: str) -> Descriptor:
        """The descriptor of a blob that is only known by its digest: its hosts know the size."""
        if self.store.has(digest):
            return Descriptor(media_type, digest, self.store.size(digest))
        failures = Failures()
        for host in self.hosts:
            try:
                last = host is self.hosts[-1]
                with self.remote.ask(
                    host, "HEAD", "blobs", digest, accept="*/*", last=last
                ) as answer:
                    if answer.content_length is not None:
                        return Descriptor(media_type, digest, answer.content_length)
                    raise BodyError(f"{safe_url(answer.ask.url)}: no Content-Length")
            except (RegistryError, AuthError, TransportError) as error:
                failures.add(error)
        raise failures.worst()

    def signed(self, descriptor: Descriptor) -> bytes:
        """A signed manifest: its bytes haven't its digest, so it is neither stored nor verified."""
        failures = Failures()
        for host in self.hosts:
            try:
                last = host is self.hosts[-1]
                accept = f"{descriptor.media_type}, */*"
                with self.remote.ask(
                    host, "GET", "manifests", descriptor.digest, accept=accept, last=last
                ) as answer:
                    return answer.read(self.config.max_manifest_size)
            except (RegistryError, AuthError, TransportError) as error:
                failures.add(error)
        raise failures.worst()

    def fetch(self, descriptor: Descriptor) -> None:
        """Have the content in the store; nothing is asked of anybody when it is there already."""
        with self.store.ingest(descriptor, wait=self.cancellation.wait) as ingest:
            if ingest.present:
                return
            if not descriptor.size and self.quirks.empty_content_refused:
                raise SizeMismatch(f"{descriptor.digest} has a size of zero")
            data = None if self.quirks.embedded_data_ignored else descriptor.data
            if data is not None and len(data) == descriptor.size:
                ingest.restart()
                ingest.write(data)
                ingest.commit()
                return
            self.download(descriptor, ingest)

    def download(self, descriptor: Descriptor, ingest: Ingest) -> None:
        """Try one source after the other, each going on where the one before stopped."""
        failures = Failures()
        for source in self.sources(descriptor):
            for again in (True, False):
                try:
                    if again:
                        self.parts.fetch(source, descriptor, ingest)
                    with self.slots:
                        self.drain(source, descriptor, ingest)
                    return
                except IntegrityError as error:
                    pieced = ingest.pieced
                    if self.quirks.bad_downloads_kept:
                        if ingest.resumed:  # containerd's collector takes them by and by
                            ingest.discard()
                        raise
                    # Nobody knows which part was wrong, so whoever comes next begins anew.
                    ingest.restart()
                    if self.quirks.first_body_decides:
                        raise
                    if not (pieced and again):
                        failures.add(error)
                        break
                except (RegistryError, AuthError, TransportError) as error:
                    if self.quirks.first_body_decides and isinstance(error, BodyError):
                        raise
                    if isinstance(error, Silent) and source.host:
                        self.remote.silent.add(source.host)
                    failures.add(error)
                    break
        raise failures.worst()

    def sources(self, descriptor: Descriptor) -> list[Source]:
        """Where to ask, in this order: the hosts, then a foreign layer's own URLs.

        Only layers that may not be redistributed have a use for URLs; for anything else they would
        let a manifest choose whom this machine talks to (Q-31).
        """
        found = [Source(host) for host in self.hosts]
        urls = [Source(url=url) for url in self.foreign_urls(descriptor)]
        found = urls + found if self.quirks.urls_first else found + urls
        return [replace(source, last=source is found[-1]) for source in found]

    def foreign_urls(self, descriptor: Descriptor) -> list[str]:
        """The descriptor's URLs that may be asked."""
        if not (is_foreign_type(descriptor.media_type) or self.quirks.urls_of_anything):
            return []
        return [url for url in descriptor.urls if url.startswith(("https://", "http://"))]

    def drain(self, source: Source, descriptor: Descriptor, ingest: Ingest) -> None:
        """Read from one source until the content is complete, resuming; then verify and publish."""
        budget = self.config.resume_budget
        idle = 0
        refusals = 0
        furthest = ingest.offset
        broken: BodyError | None = None
        while ingest.remaining or not ingest.offset:
            ingest.pieced |= ingest.offset > 0
            try:
                with self.open(source, descriptor, ingest.offset) as answer:
                    if not self.position(answer, ingest):
                        where = safe_url(answer.ask.url)
                        raise broken or BodyError(f"{where}: not the part asked for")
                    self.copy(answer, descriptor, ingest)
                break
            except BodyError as error:
                # What was thrown away and comes once more is no progress.
                idle = 0 if ingest.offset > furthest else idle + 1
                furthest = max(furthest, ingest.offset)
                budget -= 1
                if error is broken or not self.may_resume(error, idle, budget):
                    raise
                if self.quirks.refused_resume_is_the_end:
                    broken = error
                if idle:
                    self.cancellation.wait(self.pause(idle))
            except (RegistryError, AuthError) as error:
                if broken:
                    raise broken from None
                may_be_range = isinstance(error, RegistryError) and self.is_range_refused(error)
                if not ingest.offset or refusals or not may_be_range:
                    raise
                refusals += 1
                ingest.restart()
        with self.remote.transport.reporter.storing():
            ingest.commit()

    def open(
        self, source: Source, descriptor: Descriptor, offset: int, end: int | None = None
    ) -> Answer:
        """Ask a source for the content from `offset` on, up to and without byte `end`."""
        accept = f"{descriptor.media_type}, */*"
        if source.host is not None:
            return self.remote.ask(
                source.host,
                "GET",
                self.endpoint(descriptor),
                descriptor.digest,
                accept=accept,
                offset=offset,
                end=end,
                last=source.last,
            )
        headers = {"Accept": accept} | range_of(offset, end)
        answer = self.remote.transport.send(self.stranger(source.url, headers))
        if answer.status in (200, 206) or (answer.status == 416 and offset):
            return answer
        answer.close()
        kind = NotFound if answer.status == 404 else RegistryError
        where = safe_url(answer.ask.url)
        raise kind(f"blob {descriptor.digest}", status=answer.status, host=where)

    def stranger(self, url: str, headers: dict[str, str]) -> Ask:
        """Ask somebody else's server: no credentials, no configured headers, the system's TLS.

        A manifest names it, and nobody whom the user trusts (BLOB-32).
        """
        return Ask("GET", url, headers)

    def endpoint(self, descriptor: Descriptor) -> str:
        """Manifests have an endpoint of their own."""
        return "manifests" if descriptor.media_type in INDEX_TYPES | MANIFEST_TYPES else "blobs"

    # The parts of a body.

    def position(self, answer: Answer, ingest: Ingest) -> bool:
        """Make the ingest fit the body that comes; False when it is no use, and start anew.

        A body with a content coding can't be continued: the range counts coded bytes (BLOB-18).
        """
        if answer.status == 206 and ingest.offset and not answer.coding:
            if self.is_rest(answer, ingest):
                return True
        elif answer.status == 200:
            return True
        ingest.restart()
        return False

    def is_rest(self, answer: Answer, ingest: Ingest) -> bool:
        """Whether a 206 begins at the byte asked for and is of content of the right size."""
        return self.is_part(answer, ingest.offset, ingest.descriptor.size)

    def is_part(self, answer: Answer, offset: int, size: int) -> bool:
        """Whether an answer is, uncoded, the part from `offset` on of something of this size."""
        if answer.status != 206 or answer.coding:
            return False
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
        if match is None or int(match[1]) != offset:
            return False
        return match[3] == "*" or int(match[3]) == size

    def copy(self, answer: Answer, descriptor: Descriptor, ingest: Ingest) -> None:
        """Write a body into the ingest, past what is there already when it begins at byte 0."""
        skip = self.prefix(answer, ingest)
        self.check_promise(answer, descriptor)
        for chunk in self.pieces(answer, descriptor):
            if skip:
                skipped = min(skip, len(chunk))
                skip -= skipped
                chunk = chunk[skipped:]
            if chunk:
                ingest.write(chunk)
        if ingest.remaining and (answer.status == 206 or not answer.ends_itself):
            raise BodyError(f"{safe_url(answer.ask.url)}: only a part of the content came")
        # A whole body that kept its own promise and is too short would be no longer another time.

    def pieces(self, answer: Answer, descriptor: Descriptor) -> Iterator[bytes]:
        """The body without its coding.

        One that promises the content's own length has none, whatever its label says: nothing
        codes to just as many bytes, and web servers take a layer's own gzip for a coding (C04).
        """
        mislabelled = answer.coding and answer.content_length == descriptor.size
        return answer.raw() if mislabelled else answer.chunks()

    def prefix(self, answer: Answer, ingest: Ingest) -> int:
        """How many bytes of the body are known already: all so far, when Range was ignored."""
        return ingest.offset if answer.status == 200 else 0

    def check_promise(self, answer: Answer, descriptor: Descriptor) -> None:
        """Refuse a whole body whose own headers say that it isn't the content, before reading."""
        length = answer.content_length
        whole = answer.status == 200 and not answer.coding
        if whole and length is not None and length != descriptor.size:
            raise PromiseMismatch(
                f"{descriptor.digest} should have {descriptor.size} bytes, "
                f"but {safe_url(answer.ask.url)} promises {length}"
            )

    def is_range_refused(self, error: RegistryError) -> bool:
        """Whether a host may have refused the Range only: then the whole is asked for, once.

        Range is a SHOULD for registries, and some answer 400 to it instead of ignoring it.
        """
        return 400 <= error.status < 500 and error.status not in (404, 408, 429)

    def may_resume(self, error: BodyError, idle: int, budget: int) -> bool:
        """Whether a broken body is asked for again: within the budget, and while bytes come."""
        reset = isinstance(error.__cause__, httpx.ReadError)
        if reset and self.quirks.resets_are_the_end:
            return False
        left = budget > 0 or self.quirks.unlimited_resumes
        return left and idle <= self.config.resume_attempts

    def pause(self, idle: int) -> float:
        """Seconds before a body that brought nothing, `idle` times by now, is asked for again."""
        return float(FIRST_PAUSE * 2 ** (idle - 1))
