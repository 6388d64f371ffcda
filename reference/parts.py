"""Large blobs in parts, several at a time, where the configuration asks for it (BLOB-15).

Each part is asked for by a Range of its own, continued where it breaks off or starves, and written
in its turn, so that one pass over all bytes takes the digest. Whatever goes wrong for good ends
this way of fetching, for that host: what is missing then comes as one body, by the rules of
`Fetcher.drain`.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from reference.descriptors import Descriptor
from reference.errors import AuthError, BodyError, RegistryError, Silent, TransportError, safe_url
from reference.store import Ingest

if TYPE_CHECKING:
    from reference.fetch import Fetcher, Source

SMALLEST = 512
"""Bytes; smaller parts mean none, as in containerd 2.x."""


class Parts:
    """Fetches one pull's large blobs by ranges: of each at most `limit` parts at a time, which
    have `size` bytes and are in memory until they are written."""

    def __init__(self, fetcher: Fetcher, size: int, limit: int) -> None:
        self.fetcher = fetcher
        self.size = size
        self.limit = limit if size >= SMALLEST else 1
        self.whole_only: set[Source] = set()

    def fetch(self, source: Source, descriptor: Descriptor, ingest: Ingest) -> None:
        """Bring what is missing of a blob; the rest, and the error, where that can't be done, are
        left to the fetcher's usual way."""
        if self.limit < 2 or ingest.remaining <= self.size or source in self.whole_only:
            return
        ended = threading.Event()
        starts = iter(range(ingest.offset, descriptor.size, self.size))
        with ThreadPoolExecutor(self.limit, thread_name_prefix="part") as pool:

            def begin(count: int) -> None:
                for start in islice(starts, count):
                    ahead.append(pool.submit(self.part, source, descriptor, start, ended))

            ahead: deque[Future[bytes]] = deque()
            try:
                begin(1)
                ahead[0].result()  # before any other: does this server know ranges at all?
                begin(self.limit - 1)
                while ahead:
                    data = ahead.popleft().result()
                    begin(1)
                    ingest.write(data)
                    ingest.pieced = True
            except (RegistryError, AuthError, TransportError):
                self.whole_only.add(source)
            finally:
                ended.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def part(
        self, source: Source, descriptor: Descriptor, start: int, ended: threading.Event
    ) -> bytes:
        """The bytes from `start` on, in as many requests as it takes."""
        fetcher = self.fetcher
        size = min(self.size, descriptor.size - start)
        data = bytearray()
        budget = fetcher.config.resume_budget
        idle = 0
        while len(data) < size and not ended.is_set():
            at = start + len(data)
            broken: TransportError = BodyError(f"only a part of {descriptor.digest} came")
            try:
                with fetcher.slots, fetcher.open(source, descriptor, at, start + size) as answer:
                    if not fetcher.is_part(answer, at, descriptor.size):
                        raise TransportError(f"{safe_url(answer.ask.url)}: not the part asked for")
                    for chunk in answer.raw():
                        room = size - len(data)
                        data += chunk[:room]
                        if len(chunk) > room or ended.is_set():
                            break
            except (BodyError, Silent) as error:
                broken = error
            budget -= 1
            idle = 0 if start + len(data) > at else idle + 1
            if idle > fetcher.config.resume_attempts or not budget:
                raise broken
            if idle:
                fetcher.cancellation.wait(fetcher.pause(idle))
        return bytes(data)
