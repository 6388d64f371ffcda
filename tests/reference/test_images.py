"""Records: created, then updated by the seed's rule; atomic, and shared between threads."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reference.descriptors import OCI_MANIFEST, Descriptor
from reference.errors import StoreError
from reference.images import MANAGED, ImageStore

ONE = Descriptor.of(OCI_MANIFEST, b"one")
TWO = Descriptor.of(OCI_MANIFEST, b"two", "sha512")
NAME = "docker.io/library/busybox:latest"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2024, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path, Clock())


def test_a_record_is_created_and_read(images: ImageStore, tmp_path: Path) -> None:
    assert images.get(NAME) is None
    made = images.put(NAME, ONE)
    assert made.labels == MANAGED
    assert made.created == made.updated
    assert images.get(NAME) == made
    assert ImageStore(tmp_path).list() == [made]


def test_an_update_changes_the_target_and_its_own_label_only(images: ImageStore) -> None:
    """IMG-06."""
    images.put(NAME, ONE, {"mine": "kept", "io.cri-containerd.image": "no"})
    updated = images.put(NAME, TWO)
    assert updated.target == TWO
    assert updated.labels == {"mine": "kept", "io.cri-containerd.image": "managed"}
    assert updated.updated > updated.created


def test_nothing_changes_when_nothing_changes(images: ImageStore) -> None:
    """IMG-07, as it was meant (Q-11)."""
    first = images.put(NAME, ONE, {**MANAGED, "mine": "x"})
    assert images.put(NAME, ONE) == first
    assert images.get(NAME) == first


def test_put_anew_only_the_time_of_creation_stays(images: ImageStore) -> None:
    """IMG-05, beside IMG-06: the name that was pulled loses labels that the others keep."""
    images.put_all([NAME, "other"], ONE, {"mine": "x"})
    first = images.get(NAME)
    assert first is not None
    anew, other = images.put_all([NAME, "other"], ONE, anew=NAME)
    assert (anew.labels, anew.created) == (MANAGED, first.created)
    assert anew.updated > first.updated
    assert other.labels == {**MANAGED, "mine": "x"}
    assert images.put_all(["new"], TWO, anew="new")[0].target == TWO


def test_several_names_are_put_together_or_not_at_all(images: ImageStore) -> None:
    """IMG-10, Q-25: the seed leaves the records that it made before the one that failed."""
    images.put_all([NAME, ONE.digest], ONE)
    assert [image.name for image in images.list()] == [NAME, ONE.digest]

    def names() -> Iterable[str]:
        yield "never"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        images.put_all(names(), TWO)
    assert images.get("never") is None
    images.put("after", ONE)


def test_remove(images: ImageStore) -> None:
    images.put(NAME, ONE)
    assert images.remove(NAME)
    assert not images.remove(NAME)
    assert images.list() == []


def test_many_threads_write_at_once(images: ImageStore, tmp_path: Path) -> None:
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        barrier.wait(10)
        for i in range(5):
            images.put("shared", ONE, {f"label{number}": str(i)})
            ImageStore(tmp_path).put(f"own{number}", ONE)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    shared = images.get("shared")
    assert shared is not None
    assert shared.labels == {f"label{n}": "4" for n in range(6)}
    assert len(images.list()) == 7


def test_many_threads_make_the_same_store(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[ImageStore] = []

    def work() -> None:
        barrier.wait(10)
        made.append(ImageStore(tmp_path))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 8


def test_nothing_but_the_file_is_needed_to_read(images: ImageStore, tmp_path: Path) -> None:
    """No write-ahead log beside it: where nothing may be written, records can still be read."""
    images.put(NAME, ONE)
    assert os.listdir(tmp_path) == ["images.db"]
    with closing(sqlite3.connect(tmp_path / "images.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_damage_is_one_line(images: ImageStore, tmp_path: Path) -> None:
    images.put(NAME, ONE)
    connection = sqlite3.connect(tmp_path / "images.db")
    with connection:
        connection.execute("UPDATE images SET target = '{'")
    connection.close()
    with pytest.raises(StoreError, match=f"record {NAME} is damaged"):
        images.get(NAME)
    other = tmp_path / "other"
    other.mkdir()
    (other / "images.db").write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match="cannot use the image records"):
        ImageStore(other)
    with pytest.raises(StoreError, match="cannot use the image records"):
        ImageStore(tmp_path / "gone")
