"""Several blobs at a time: a bounded number of threads, and one failure ends them all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from reference.descriptors import Descriptor
from reference.errors import Cancelled
from reference.progress import Cancellation


class Downloads:
    """Fetches blobs in threads, in the order given; each digest once (BLOB-24, CONC-01, CONC-04).

    Use it in a `with` statement: leaving it with an error stops what is still under way at once
    (BLOB-43), and the error raised is the first that any thread met.
    """

    def __init__(
        self, fetch: Callable[[Descriptor], None], limit: int, cancellation: Cancellation
    ) -> None:
        self._fetch = fetch
        self._limit = limit
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._first: BaseException | None = None
        self._futures: dict[str, Future[None]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def start(self, descriptors: Iterable[Descriptor]) -> None:
        """Begin to fetch them; to be called once."""
        unique = {descriptor.digest: descriptor for descriptor in descriptors}
        if not unique:
            return
        self._pool = ThreadPoolExecutor(self.threads(len(unique)), thread_name_prefix="download")
        for digest, descriptor in unique.items():
            self._futures[digest] = self._pool.submit(self._run, descriptor)

    def threads(self, blobs: int) -> int:
        """How many blobs are fetched at a time; a limit of 0 is none (CONC-03)."""
        return min(self._limit, blobs) if self._limit else blobs

    def wait(self, descriptor: Descriptor) -> None:
        """Wait until this one is in the store."""
        self._futures[descriptor.digest].result()

    def wait_all(self) -> None:
        """Wait until all are."""
        for future in self._futures.values():
            future.result()

    def _run(self, descriptor: Descriptor) -> None:
        try:
            self._fetch(descriptor)
        except BaseException as error:
            with self._lock:
                self._first = self._first or error
            self._cancellation.cancel(Cancelled("stopped, because another download failed"))
            raise

    def __enter__(self) -> Downloads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What fails only because it is stopped here is no reason, and must not hide the true one.
        with self._lock:
            first = self._first
        if self._pool is not None:
            if error is not None:
                # An interrupt (Ctrl-C) or a layer that can't be applied: the rest isn't wanted.
                self._cancellation.cancel(Cancelled("stopped, because the pull failed"))
            self._pool.shutdown(cancel_futures=True)
        if isinstance(error, Exception) and first is not None and first is not error:
            raise first from None
