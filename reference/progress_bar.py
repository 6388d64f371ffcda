"""What a person sees of a pull: a bar on a terminal, plain lines anywhere else.

`Board` collects what is going on, from any thread; `Bar` draws it a few times a second; `watched`
gives a puller whose parts tell the board.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TextIO

from reference.descriptors import Descriptor
from reference.downloads import Downloads
from reference.layers import LayerApplier
from reference.pull import Puller
from reference.store import Ingest, Store

_REDRAW = 0.1  # seconds between two drawings
_RATE_OVER = 2.0  # seconds that the shown rate is an average of
_UNKNOWN_WIDTH = 80
_NARROW = 50  # columns below which there is no room for a bar


def amount(size: float) -> str:
    """Bytes in a form for people: `999 B`, `1.2 kB`, `34.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


class Board:
    """What one pull has to do, and how far it is. `line` is told of each step, if given."""

    def __init__(self, line: Callable[[str], None] = lambda text: None) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._stored: set[str] = set()
        self._writing: dict[str, Ingest] = {}
        self._applied = 0

    def expect(self, descriptors: Iterable[Descriptor], here: Callable[[str], bool]) -> None:
        """These blobs are needed; `here` says which digests the store has already."""
        sizes = {descriptor.digest: descriptor.size for descriptor in descriptors}
        present = {digest for digest in sizes if here(digest)}
        with self._lock:
            self._sizes |= sizes
            self._stored |= present
        missing = sum(size for digest, size in sizes.items() if digest not in present)
        if missing:
            self._line(f"downloading {len(sizes) - len(present)} blobs, {amount(missing)}")

    def writing(self, ingest: Ingest) -> None:
        """A blob begins to arrive."""
        with self._lock:
            self._writing[ingest.descriptor.digest] = ingest

    def stored(self, descriptor: Descriptor) -> None:
        """A blob is in the store."""
        with self._lock:
            self._stored.add(descriptor.digest)
            self._writing.pop(descriptor.digest, None)
            known = descriptor.digest in self._sizes
        if known:
            self._line(f"downloaded {descriptor.digest}, {amount(descriptor.size)}")

    def applied(self) -> None:
        """A layer was unpacked."""
        with self._lock:
            self._applied += 1
            number = self._applied
        self._line(f"unpacked layer {number}")

    def state(self) -> tuple[int, int, int, int, int]:
        """Bytes here, bytes in all, blobs here, blobs in all, layers unpacked."""
        with self._lock:
            done = sum(size for digest, size in self._sizes.items() if digest in self._stored)
            done += sum(
                ingest.offset for digest, ingest in self._writing.items() if digest in self._sizes
            )
            blobs = len(self._stored & self._sizes.keys())
            return done, sum(self._sizes.values()), blobs, len(self._sizes), self._applied


class Bar:
    """Draws a board on a terminal while the `with` block lasts, and leaves no trace of it."""

    def __init__(self, board: Board, stream: TextIO) -> None:
        self._board = board
        self._stream = stream
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress-bar", daemon=True)
        self._history: list[tuple[float, int]] = []

    def __enter__(self) -> Bar:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self._stream.write("\r\x1b[K")
        self._stream.flush()

    def _run(self) -> None:
        while not self._done.wait(_REDRAW):
            self._stream.write("\r\x1b[K" + self.text(time.monotonic(), self.columns()))
            self._stream.flush()

    def columns(self) -> int:
        """The width of the terminal that is drawn on, which stdout may not be."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _UNKNOWN_WIDTH
        except (OSError, ValueError):
            return _UNKNOWN_WIDTH

    def text(self, now: float, columns: int) -> str:
        """The line at time `now` (seconds), at most one less than `columns` wide."""
        done, total, blobs, all_blobs, applied = self._board.state()
        if not total:
            return "resolving"[: columns - 1]
        words = f"{amount(done)} of {amount(total)}  {amount(self.rate(now, done))}/s"
        words += f"  {blobs}/{all_blobs} blobs"
        if applied:
            words += f"  {applied} unpacked"
        width = min(30, columns - len(words) - 5)
        if columns < _NARROW or width < 5:
            return words[: columns - 1]
        filled = width * min(done, total) // total
        return f"[{'#' * filled}{' ' * (width - filled)}] {words}"

    def rate(self, now: float, done: int) -> float:
        """Bytes a second, over the last moments."""
        self._history.append((now, done))
        while now - self._history[0][0] > _RATE_OVER:
            self._history.pop(0)
        since, before = self._history[0]
        return (done - before) / (now - since) if now > since else 0.0


def watched(board: Board) -> type[Puller]:
    """A puller that tells `board` what it does, and is otherwise the same."""

    class WatchedIngest(Ingest):
        def __enter__(self) -> Ingest:
            super().__enter__()
            if not self.present:
                board.writing(self)
            return self

        def commit(self) -> None:
            super().commit()
            board.stored(self.descriptor)

    class WatchedStore(Store):
        ingests = WatchedIngest

    class WatchedLayers(LayerApplier):
        def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
            found = super().apply(blob, media_type, diff_id)
            board.applied()
            return found

    class WatchedDownloads(Downloads):
        here: Callable[[str], bool]

        def start(self, descriptors: Iterable[Descriptor]) -> None:
            descriptors = tuple(descriptors)
            board.expect(descriptors, self.here)
            super().start(descriptors)

    class WatchedPuller(Puller):
        store = WatchedStore
        layers = WatchedLayers
        downloads = WatchedDownloads

        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            WatchedDownloads.here = staticmethod(self.content.has)

    return WatchedPuller
