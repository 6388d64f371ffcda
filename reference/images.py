"""Image records: which names there are, and what each one names.

A record is what makes an image visible. They live in SQLite (fully synced), so that a record is
either there or not, whatever happens in between; every call opens its own connection, so threads,
forks and other processes are all welcome. With its rollback journal, not WAL: records can be read
where nothing may be written, and to switch WAL on, SQLite doesn't wait for its turn.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reference.descriptors import Descriptor
from reference.errors import PullError, StoreError

MANAGED: Mapping[str, str] = {"io.cri-containerd.image": "managed"}
"""The label of a record that a pull made, as containerd's CRI sets it."""

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
        """Create a record, or let an existing one name `target`, by the rule of `merged`."""
        (image,) = self.put_all([name], target, labels)
        return image

    def put_all(
        self, names: Iterable[str], target: Descriptor, labels: Mapping[str, str] = MANAGED
    ) -> tuple[Image, ...]:
        """The same for several names at once: either all of them are visible, or none is new."""
        with self._database(write=True) as database:
            images = []
            for name in names:
                before = self._get(database, name)
                image = self.merged(before, name, target, labels)
                if image != before:
                    self._write(database, image)
                images.append(image)
            return tuple(images)

    def merged(
        self, before: Image | None, name: str, target: Descriptor, labels: Mapping[str, str]
    ) -> Image:
        """What becomes of a record that is put again (the seed's createImageReference, IMG-06).

        Only the target and the given labels change; other labels and the time of creation stay.
        When nothing changes, not even the time of the update does (IMG-07: what the seed meant).
        """
        now = self._clock()
        if before is None:
            return Image(name, target, dict(labels), now, now)
        together = {**before.labels, **labels}
        if (before.target, before.labels) == (target, together):
            return before
        return Image(name, target, together, before.created, now)

    def replace(self, name: str, target: Descriptor, labels: Mapping[str, str] = MANAGED) -> Image:
        """Create a record, or replace all of an existing one but its creation time (IMG-05)."""
        with self._database(write=True) as database:
            before = self._get(database, name)
            now = self._clock()
            created = before.created if before else now
            image = Image(name, target, dict(labels), created, now)
            self._write(database, image)
            return image

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
