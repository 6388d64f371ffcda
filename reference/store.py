"""The content store: blobs under their digests, and nothing that wasn't verified.

    <root>/blobs/<algorithm>/<hex>    verified content, read-only, never changed
    <root>/ingest/<algorithm>-<hex>   what has arrived so far of one blob; locked while written

A blob gets its final name by a rename, after size and digest were compared and the file was
synced: whatever can be opened under `blobs` is whole. The lock is `flock` on the ingest file
itself, so it works between threads and processes alike and goes with the process that held it.
When two pulls want one blob, the second waits, and finds either the finished blob or the bytes so
far (BLOB-25, BLOB-26).
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from reference.compat import Quirks
from reference.descriptors import (
    ALGORITHMS,
    Descriptor,
    algorithm_of,
    encoded_of,
    hasher_for,
    is_digest,
)
from reference.errors import DigestMismatch, IntegrityError, SizeMismatch, StoreError

if TYPE_CHECKING:
    from hashlib import _Hash

_READ = 256 * 1024
_LOCK_RETRY = 0.02  # seconds between two looks at a lock that another process may hold


@contextmanager
def disk(what: str) -> Iterator[None]:
    """Turn an OSError inside into a StoreError that says what was being done."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror or error}") from error


def sync_directory(path: Path) -> None:
    """Make the names inside `path` survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Ingest:
    """One blob being written. Not to be shared between threads."""

    def __init__(
        self, store: Store, descriptor: Descriptor, wait: Callable[[float], object]
    ) -> None:
        self.descriptor = descriptor
        self.present = False
        """The blob is in the store already: there is nothing to write or commit."""
        self.offset = 0
        """Bytes that are in the file, and in the hash."""
        self.resumed = False
        """The first bytes come from an earlier, interrupted pull."""
        self.pieced = False
        """The bytes come from several answers, which may not belong together."""
        self._store = store
        self._wait = wait
        self._path = store.ingest_path(descriptor.digest)
        self._fd = -1
        self._hash: _Hash = hasher_for(descriptor.digest)

    @property
    def remaining(self) -> int:
        """Bytes still to come."""
        return self.descriptor.size - self.offset

    def __enter__(self) -> Ingest:
        with disk(f"cannot store {self.descriptor.digest}"):
            fd = self._lock()
        if fd is None:
            self.present = True
            return self
        self._fd = fd
        try:
            with disk(f"cannot read what is there of {self.descriptor.digest}"):
                self._rehash()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._fd < 0:
            return
        if self.offset == 0 or not self._store.keep_partial(error):
            self.discard()
        self._close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. What goes beyond the descriptor's size is refused, not written."""
        self._store.verify_room(self.descriptor, self.offset + len(data))
        with disk(f"cannot store {self.descriptor.digest}"):
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        self._hash.update(data)
        self.offset += len(data)

    def restart(self) -> None:
        """Throw away what is there and begin at byte 0, keeping the lock."""
        with disk(f"cannot store {self.descriptor.digest}"):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hasher_for(self.descriptor.digest)
        self.offset = 0
        self.resumed = self.pieced = False

    def discard(self) -> None:
        """Throw away what is there, so that nobody continues it."""
        with (
            disk(f"cannot discard what is there of {self.descriptor.digest}"),
            suppress(FileNotFoundError),
        ):
            os.unlink(self._path)

    def commit(self) -> None:
        """Verify, sync and publish. On a mismatch the bytes are thrown away and it raises."""
        digest = f"{algorithm_of(self.descriptor.digest)}:{self._hash.hexdigest()}"
        self._store.verify_size(self.descriptor, self.offset)
        self._store.verify_digest(self.descriptor, digest)
        target = self._store.path(self.descriptor.digest)
        with disk(f"cannot store {self.descriptor.digest}"):
            os.fchmod(self._fd, 0o444)
            os.fsync(self._fd)
            os.rename(self._path, target)
            sync_directory(target.parent)
        self.present = True
        self._close()

    def _lock(self) -> int | None:
        """Open and lock the ingest file; None when the blob turned up instead."""
        while True:
            if self._store.has(self.descriptor.digest, self.descriptor.size):
                return None
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            locked = False
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder before us may have published or discarded the very file we opened.
                locked = self._is_current(fd)
            except BlockingIOError:
                self._wait(_LOCK_RETRY)
            finally:
                if not locked:
                    os.close(fd)
            if locked:
                if self._store.has(self.descriptor.digest, self.descriptor.size):
                    os.unlink(self._path)
                    os.close(fd)
                    return None
                return fd

    def _is_current(self, fd: int) -> bool:
        try:
            named = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(fd))

    def _rehash(self) -> None:
        """Take the bytes of an earlier pull into the hash, as far as they can be of use."""
        kept = os.fstat(self._fd).st_size
        if kept > self.descriptor.size:
            self.restart()
            return
        while chunk := os.read(self._fd, _READ):
            self._hash.update(chunk)
            self.offset += len(chunk)
        self.resumed = self.offset > 0

    def _close(self) -> None:
        """Close the file, which gives up the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Store:
    """Blobs by digest under one folder. Safe for any number of threads and processes."""

    ingests: type[Ingest] = Ingest
    quirks = Quirks()

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"
        with disk(f"cannot set up the store {root}"):
            # Whoever else uses this machine has no business with what a password was needed for.
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._ingest.mkdir(parents=True, exist_ok=True, mode=0o700)
            for algorithm in ALGORITHMS:
                (self._blobs / algorithm).mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Only a well-formed digest becomes a path (BLOB-37)."""
        return self._blobs / algorithm_of(digest) / encoded_of(digest)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is there; with `size`, whether its file still has that many bytes."""
        try:
            found = os.stat(self.path(digest))
        except OSError:
            return False
        return size is None or found.st_size == size

    def size(self, digest: str) -> int:
        """The blob's length in bytes."""
        with disk(f"cannot find blob {digest}"):
            return os.stat(self.path(digest)).st_size

    def open(self, digest: str) -> BinaryIO:
        """The blob as an unbuffered binary file, to be closed by the caller."""
        with disk(f"cannot open blob {digest}"):
            return open(self.path(digest), "rb", buffering=0)

    def read(self, digest: str, limit: int | None = None) -> bytes:
        """The whole blob, refusing one of more than `limit` bytes before reading it."""
        if limit is not None and self.size(digest) > limit:
            raise StoreError(f"blob {digest} is larger than the {limit} bytes that are allowed")
        with disk(f"cannot read blob {digest}"):
            return self.path(digest).read_bytes()

    def digests(self) -> Iterator[str]:
        """Every blob in the store."""
        for algorithm in ALGORITHMS:
            with disk("cannot list the store"):
                names = sorted(os.listdir(self._blobs / algorithm))
            for name in names:
                if is_digest(f"{algorithm}:{name}"):
                    yield f"{algorithm}:{name}"

    def partial(self) -> list[Path]:
        """The files of blobs of which only a part is here."""
        with disk("cannot list the store"):
            return sorted(self._ingest.iterdir())

    def delete(self, digest: str) -> bool:
        """Remove a blob; False when it wasn't there."""
        with disk(f"cannot remove blob {digest}"):
            try:
                self.path(digest).unlink()
            except FileNotFoundError:
                return False
        return True

    def put(self, media_type: str, data: bytes, algorithm: str = "sha256") -> Descriptor:
        """Store bytes at hand (a manifest, a converted document) and describe them."""
        descriptor = Descriptor.of(media_type, data, algorithm)
        with self.ingest(descriptor) as ingest:
            if not ingest.present:
                ingest.restart()
                ingest.write(data)
                ingest.commit()
        return descriptor

    def ingest(
        self, descriptor: Descriptor, *, wait: Callable[[float], object] | None = None
    ) -> Ingest:
        """Begin, or continue, to write a blob. Use the result in a `with` statement.

        While another puller is writing the same blob, `wait(seconds)` is called between two tries;
        it may raise to give up (that is how a cancelled pull leaves the queue).
        """
        return self.ingests(self, descriptor, wait or threading.Event().wait)

    def ingest_path(self, digest: str) -> Path:
        """Where the bytes so far of a blob are."""
        return self._ingest / f"{algorithm_of(digest)}-{encoded_of(digest)}"

    # The decisions, each in a method of its own.

    def verify_room(self, descriptor: Descriptor, total: int) -> None:
        """Refuse the first byte beyond the descriptor's size, not the last (BLOB-04)."""
        if total > descriptor.size:
            raise SizeMismatch(
                f"{descriptor.digest} is longer than the {descriptor.size} bytes it should have"
            )

    def verify_size(self, descriptor: Descriptor, actual: int) -> None:
        """Compare the length of the whole content with the descriptor's (BLOB-03)."""
        if actual != descriptor.size:
            raise SizeMismatch(f"{descriptor.digest} has {actual} bytes, not {descriptor.size}")

    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """Compare the digest of the whole content with the descriptor's (BLOB-02)."""
        if self.quirks.sha256_only and algorithm_of(descriptor.digest) != "sha256":
            raise DigestMismatch(f"{descriptor.digest} isn't a sha256 digest")
        if actual != descriptor.digest:
            raise DigestMismatch(f"content has digest {actual}, not {descriptor.digest}")

    def keep_partial(self, error: BaseException | None) -> bool:
        """Whether bytes so far may serve the next pull: never after a failed verification.

        Containerd keeps them, and then fails again without asking the registry (Q-33, BLOB-28).
        """
        return self.quirks.bad_downloads_kept or not isinstance(error, IntegrityError)
