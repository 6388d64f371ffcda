"""What is seen of a pull: a bar on a terminal, plain lines anywhere else, JSON for programs.

`Board` collects what is going on, from any thread; `Bar` draws it a few times a second, `Ticks`
says it once a second; `watched` gives a puller whose parts tell the board.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO

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


Tell = Callable[[str, Mapping[str, object]], None]
"""Is told of a step: in words for people, and as an event for programs."""


def _nobody(text: str, event: Mapping[str, object]) -> None:
    return None


def as_lines(print_line: Callable[[str], None]) -> Tell:
    """Steps as plain lines."""
    return lambda text, event: print_line(text)


def as_json(print_line: Callable[[str], None]) -> Tell:
    """Steps as lines of JSON; each is an object with its `event`."""
    return lambda text, event: print_line(json.dumps(event))


class Board:
    """What one pull has to do, and how far it is. `tell` is told of each step."""

    def __init__(self, tell: Tell = _nobody) -> None:
        self.tell = tell
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
            blobs = len(sizes) - len(present)
            self.tell(
                f"downloading {blobs} blobs, {amount(missing)}",
                {"event": "downloading", "blobs": blobs, "bytes": missing},
            )

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
            self.tell(
                f"downloaded {descriptor.digest}, {amount(descriptor.size)}",
                {"event": "downloaded", "digest": descriptor.digest, "bytes": descriptor.size},
            )

    def applied(self) -> None:
        """A layer was unpacked."""
        with self._lock:
            self._applied += 1
            number = self._applied
        self.tell(f"unpacked layer {number}", {"event": "unpacked", "layer": number})

    def state(self) -> tuple[int, int, int, int, int]:
        """Bytes here, bytes in all, blobs here, blobs in all, layers unpacked."""
        with self._lock:
            done = sum(size for digest, size in self._sizes.items() if digest in self._stored)
            done += sum(
                ingest.offset for digest, ingest in self._writing.items() if digest in self._sizes
            )
            blobs = len(self._stored & self._sizes.keys())
            return done, sum(self._sizes.values()), blobs, len(self._sizes), self._applied


class Regularly:
    """Does `self.tick()` again and again while the `with` block lasts, in a thread of its own."""

    interval: float

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._history: list[tuple[float, int]] = []

    def tick(self) -> None:
        """To be done every `interval` seconds."""
        raise NotImplementedError

    def __enter__(self) -> Self:
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

    def _run(self) -> None:
        while not self._done.wait(self.interval):
            self.tick()

    def rate(self, now: float, done: int) -> float:
        """Bytes a second, over the last moments."""
        self._history.append((now, done))
        while now - self._history[0][0] > _RATE_OVER:
            self._history.pop(0)
        since, before = self._history[0]
        return (done - before) / (now - since) if now > since else 0.0


class Ticks(Regularly):
    """Tells a board's listener once a second how far it is."""

    interval = 1.0

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board

    def tick(self) -> None:
        """One event."""
        done, total, blobs, all_blobs, applied = self._board.state()
        self._board.tell(
            f"{amount(done)} of {amount(total)}",
            {
                "event": "progress",
                "bytes": done,
                "bytes_in_all": total,
                "bytes_per_second": round(self.rate(time.monotonic(), done)),
                "blobs": blobs,
                "blobs_in_all": all_blobs,
                "unpacked": applied,
            },
        )


class Bar(Regularly):
    """Draws a board on a terminal while the `with` block lasts, and leaves no trace of it."""

    interval = _REDRAW

    def __init__(self, board: Board, stream: TextIO) -> None:
        super().__init__()
        self._board = board
        self._stream = stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._stream.write("\r\x1b[K")
        self._stream.flush()

    def tick(self) -> None:
        """Draw once."""
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
