"""Image records: which names there are, and what each one names.

A record is what makes an image visible. They live in SQLite (fully synced), so that a record is
either there or not, whatever happens in between; every call opens its own connection, so threads,
forks and other processes are all welcome.

With SQLite's rollback journal, and not WAL, which was tried. For one connection a call WAL is the
slower one (the three records of a pull in 1.7 ms instead of 1.3, a listing in 0.46 instead of
0.31, with 5 syncs instead of 4: it has to be emptied when the last connection closes). A store that
was closed can't be opened where nothing may be written, but for `immutable=1`; and that, after a
kill, passes over records that were committed. To switch it on, SQLite doesn't wait for its turn.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reference.compat import Quirks
from reference.descriptors import Descriptor
from reference.errors import PullError, StoreError

MANAGED: Mapping[str, str] = {"io.cri-containerd.image": "managed"}
"""The label of a record that a pull made, as containerd's CRI sets it."""
PINNED: Mapping[str, str] = {"io.cri-containerd.pinned": "pinned"}
"""The label of one that a kubelet leaves alone when it makes room (IMG-12)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    name TEXT PRIMARY KEY,
    target TEXT NOT NULL,   -- a descriptor, as JSON
    labels TEXT NOT NULL,   -- an object of strings, as JSON
    created TEXT NOT NULL,  -- ISO 8601, UTC
    updated TEXT NOT NULL
) STRICT
"""
_WAIT = 30.0  # seconds for another writer, each of which takes milliseconds


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Image:
    """One record. `target` is the root of what was pulled: an index, or a manifest."""

    name: str
    """A reference with its tag, a reference with its digest, or an image id (`sha256:…`)."""
    target: Descriptor
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    created: datetime = field(default_factory=_now)
    updated: datetime = field(default_factory=_now)


class ImageStore:
    """The records of one root folder."""

    quirks = Quirks()

    def __init__(self, root: Path, clock: Callable[[], datetime] = _now) -> None:
        self._path = root / "images.db"
        self._clock = clock
        with self._database(write=False) as database:
            database.execute(_SCHEMA)

    def get(self, name: str) -> Image | None:
        """The record of exactly this name."""
        with self._database(write=False) as database:
            return self._get(database, name)

    def list(self) -> list[Image]:
        """All records, by name."""
        with self._database(write=False) as database:
            rows = database.execute("SELECT * FROM images ORDER BY name").fetchall()
        return [_image(row) for row in rows]

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] = MANAGED) -> Image:
        """Create a record, or let an existing one name `target`.

        Only the target and the given labels change (the seed's createImageReference, IMG-06).
        """
        (image,) = self.put_all([name], target, labels)
        return image

    def put_all(
        self,
        names: Iterable[str],
        target: Descriptor,
        labels: Mapping[str, str] = MANAGED,
        *,
        anew: str = "",
    ) -> tuple[Image, ...]:
        """The same for several names at once: either all of them are visible, or none is new.

        The one called `anew` loses the labels that somebody else gave it: so containerd's client
        does with the name that was pulled, and its CRI plugin not with the others (IMG-05, IMG-06).
        """
        with self._database(write=True) as database:
            images = []
            for name in names:
                before = self._get(database, name)
                kept = before.labels if before and name != anew else {}
                image = self.merged(before, name, target, {**kept, **labels})
                if image != before:
                    self._write(database, image)
                images.append(image)
            return tuple(images)

    def merged(
        self, before: Image | None, name: str, target: Descriptor, labels: Mapping[str, str]
    ) -> Image:
        """What becomes of a record that is put again: the time of its creation stays.

        When nothing changes, not even the time of the update does (IMG-07: what the seed meant).
        """
        now = self._clock()
        if before is None:
            return Image(name, target, labels, now, now)
        same = (before.target, before.labels) == (target, labels)
        if same and not self.quirks.records_rewritten:
            return before
        return Image(name, target, labels, before.created, now)

    def remove(self, name: str) -> bool:
        """Remove a record; False when there was none."""
        with self._database(write=True) as database:
            return database.execute("DELETE FROM images WHERE name = ?", (name,)).rowcount > 0

    def _get(self, database: sqlite3.Connection, name: str) -> Image | None:
        row = database.execute("SELECT * FROM images WHERE name = ?", (name,)).fetchone()
        return None if row is None else _image(row)

    def _write(self, database: sqlite3.Connection, image: Image) -> None:
        database.execute(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)",
            (
                image.name,
                json.dumps(image.target.to_json()),
                json.dumps(dict(image.labels)),
                image.created.isoformat(),
                image.updated.isoformat(),
            ),
        )

    @contextmanager
    def _database(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """A connection; with `write` also a transaction, which ends with the block."""
        try:
            connection = sqlite3.connect(self._path, timeout=_WAIT, isolation_level=None)
            with closing(connection) as database:
                database.execute("PRAGMA synchronous=FULL")
                if not write:
                    yield database
                    return
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                    database.execute("COMMIT")
                except BaseException:
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise StoreError(f"cannot use the image records in {self._path}: {error}") from error


def _image(row: tuple[str, str, str, str, str]) -> Image:
    name, target, labels, created, updated = row
    try:
        return Image(
            name,
            Descriptor.from_json(json.loads(target)),
            json.loads(labels),
            datetime.fromisoformat(created),
            datetime.fromisoformat(updated),
        )
    except (ValueError, PullError) as error:
        raise StoreError(f"the image record {name} is damaged: {error}") from error
