"""Uploads on their way: what was pushed in chunks and isn't a blob yet."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from .room import Room

STARTED = 1024
"""What an upload takes of the room before its first byte: starting many of them isn't free."""


@dataclass
class _Upload:
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0


class Uploads:
    """The uploads of one registry. Thread-safe; every method but `start` may raise KeyError."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}
        self._started = 0

    def start(self) -> str:
        """Begin an upload and return its id; raises FullError."""
        self._room.take(STARTED)
        with self._lock:
            self._started += 1
            key = f"upload-{self._started}"
            self._uploads[key] = _Upload()
            return key

    def append(self, key: str, data: bytes, start: int | None = None) -> int | None:
        """Append to an upload; return its new size, or None where `start` isn't its end.

        Raises FullError, and then the upload is as it was.
        """
        with self._lock:
            upload = self._uploads[key]
            if start is not None and start != upload.size:
                return None
            self._room.take(len(data))
            upload.pieces.append(data)
            upload.size += len(data)
            return upload.size

    def size(self, key: str) -> int:
        """Return how many bytes an upload has."""
        with self._lock:
            return self._uploads[key].size

    def finish(self, key: str, data: bytes) -> bytes:
        """End an upload with its last bytes and return the whole."""
        return b"".join([*self._pop(key).pieces, data])

    def cancel(self, key: str) -> None:
        """Forget an upload."""
        self._pop(key)

    def _pop(self, key: str) -> _Upload:
        with self._lock:
            upload = self._uploads.pop(key)
        self._room.give(STARTED + upload.size)
        return upload

    def clear(self) -> None:
        """Forget every upload."""
        with self._lock:
            gone = list(self._uploads.values())
            self._uploads.clear()
        self._room.give(sum(STARTED + upload.size for upload in gone))
