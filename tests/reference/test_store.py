"""The store shows verified content only, keeps partials with care, and is safe to share."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.descriptors import Descriptor, digest_of
from reference.errors import (
    DigestMismatch,
    InvalidDescriptor,
    PullError,
    SizeMismatch,
    StoreError,
)
from reference.store import Ingest, Store

DATA = bytes(range(256)) * 40
DESCRIPTOR = Descriptor.of("application/x", DATA)


def fill(store: Store, descriptor: Descriptor = DESCRIPTOR, data: bytes = DATA) -> None:
    with store.ingest(descriptor) as ingest:
        assert not ingest.present
        ingest.write(data[ingest.offset :])
        ingest.commit()


def leftovers(store: Store) -> list[str]:
    return os.listdir(store.root / "ingest")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_good_blob_is_published_whole_and_read_only(store: Store, algorithm: str) -> None:
    """BLOB-02, BLOB-36"""
    descriptor = Descriptor.of("a/b", DATA, algorithm)
    assert not store.has(descriptor.digest)
    with store.ingest(descriptor) as ingest:
        ingest.write(DATA[:100])
        assert not store.has(descriptor.digest)
        ingest.write(memoryview(DATA)[100:])
        assert ingest.remaining == 0
        ingest.commit()
        assert ingest.present
    assert store.read(descriptor.digest) == DATA
    with store.open(descriptor.digest) as file:
        assert file.read() == DATA
    assert store.has(descriptor.digest, len(DATA))
    assert not store.has(descriptor.digest, 1)
    assert store.size(descriptor.digest) == len(DATA)
    assert store.path(descriptor.digest).stat().st_mode & 0o222 == 0
    assert list(store.digests()) == [descriptor.digest]
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"y" + DATA[1:], DigestMismatch),
        (DATA[:-1], SizeMismatch),
        (DATA + b"x", SizeMismatch),
        (b"", SizeMismatch),
    ],
)
def test_a_wrong_blob_is_refused_and_its_bytes_are_thrown_away(
    store: Store, sent: bytes, error: type[PullError]
) -> None:
    with pytest.raises(error):
        fill(store, data=sent)
    assert not store.has(DESCRIPTOR.digest)
    assert leftovers(store) == []
    fill(store)
    assert store.read(DESCRIPTOR.digest) == DATA


def test_the_first_byte_too_many_is_refused_before_it_is_written(store: Store) -> None:
    with store.ingest(DESCRIPTOR) as ingest:
        ingest.write(DATA)
        with pytest.raises(SizeMismatch):
            ingest.write(b"x")
        ingest.commit()
    assert store.read(DESCRIPTOR.digest) == DATA


def interrupt(store: Store, data: bytes, error: BaseException) -> None:
    with pytest.raises(type(error)):  # noqa: PT012
        with store.ingest(DESCRIPTOR) as ingest:
            ingest.write(data)
            raise error


def test_bytes_of_an_interrupted_pull_are_continued(store: Store) -> None:
    interrupt(store, DATA[:1000], ConnectionError())
    with store.ingest(DESCRIPTOR) as ingest:
        assert (ingest.offset, ingest.resumed) == (1000, True)
        ingest.write(DATA[1000:])
        ingest.commit()
    assert store.read(DESCRIPTOR.digest) == DATA


def test_bytes_of_a_corrupted_pull_are_not_continued(store: Store) -> None:
    """BLOB-28, Q-33"""
    interrupt(store, DATA[:1000], DigestMismatch("no"))
    assert leftovers(store) == []


def test_a_corrupt_prefix_can_be_fetched_again_within_one_ingest(store: Store) -> None:
    interrupt(store, b"#" * 1000, KeyboardInterrupt())
    with store.ingest(DESCRIPTOR) as ingest:
        ingest.write(DATA[ingest.offset :])
        with pytest.raises(DigestMismatch):
            ingest.commit()
        ingest.restart()
        assert (ingest.offset, ingest.resumed) == (0, False)
        ingest.write(DATA)
        ingest.commit()
    assert store.read(DESCRIPTOR.digest) == DATA


def test_nothing_received_leaves_nothing(store: Store) -> None:
    interrupt(store, b"", ConnectionError())
    assert leftovers(store) == []


def test_an_overlong_partial_is_begun_afresh(store: Store) -> None:
    store.ingest_path(DESCRIPTOR.digest).write_bytes(DATA + b"more")
    fill(store)
    assert store.read(DESCRIPTOR.digest) == DATA


def test_a_symlink_in_place_of_an_ingest_is_not_written_through(
    store: Store, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    store.ingest_path(DESCRIPTOR.digest).symlink_to(victim)
    with pytest.raises(StoreError):
        fill(store)
    assert victim.read_text() == "safe"


def test_an_empty_blob_is_possible(store: Store) -> None:
    descriptor = store.put("a/b", b"")  # BLOB-29, LAYER-32
    assert store.read(descriptor.digest) == b""


def test_put_is_idempotent_and_mends_a_partial(store: Store) -> None:
    interrupt(store, b"#" * 10, ConnectionError())
    assert store.put("application/x", DATA) == DESCRIPTOR
    assert store.put("application/x", DATA) == DESCRIPTOR
    assert store.read(DESCRIPTOR.digest) == DATA


def test_a_blob_cut_behind_the_stores_back_is_fetched_again(store: Store) -> None:
    fill(store)
    path = store.path(DESCRIPTOR.digest)
    path.unlink()
    path.write_bytes(DATA[:10])
    fill(store)
    assert store.read(DESCRIPTOR.digest) == DATA


def test_delete(store: Store) -> None:
    fill(store)
    assert store.delete(DESCRIPTOR.digest)
    assert not store.delete(DESCRIPTOR.digest)
    with pytest.raises(StoreError, match="cannot open blob"):
        store.open(DESCRIPTOR.digest)


def test_a_limit_on_reading_is_checked_before_reading(store: Store) -> None:
    fill(store)
    with pytest.raises(StoreError, match="larger than the 10 bytes"):
        store.read(DESCRIPTOR.digest, 10)


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:", "", "sha256:" + "A" * 64])
def test_only_digests_become_paths(store: Store, digest: str) -> None:
    """BLOB-37"""
    for use in (store.path, store.has, store.read, store.open, store.delete):
        with pytest.raises(InvalidDescriptor):
            use(digest)


def test_an_unusable_root_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot set up the store"):
        Store(tmp_path / "file")


def test_of_two_threads_one_writes_and_the_other_waits(store: Store) -> None:
    waiting = threading.Event()
    seen: list[Ingest] = []

    def second() -> None:
        def wait(seconds: float) -> None:
            waiting.set()
            threading.Event().wait(seconds)

        with store.ingest(DESCRIPTOR, wait=wait) as ingest:
            seen.append(ingest)

    with store.ingest(DESCRIPTOR) as first:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        first.write(DATA)
        first.commit()
    thread.join(10)
    assert seen[0].present


def test_a_waiting_pull_takes_over_where_the_first_was_cancelled(store: Store) -> None:
    """BLOB-26, CONC-10"""
    waiting = threading.Event()
    offsets: list[int] = []

    def second() -> None:
        def wait(seconds: float) -> None:
            waiting.set()
            threading.Event().wait(seconds)

        with store.ingest(DESCRIPTOR, wait=wait) as ingest:
            offsets.append(ingest.offset)
            ingest.write(DATA[ingest.offset :])
            ingest.commit()

    thread = threading.Thread(target=second)

    def cancelled() -> None:
        with store.ingest(DESCRIPTOR) as first:
            thread.start()
            assert waiting.wait(10)
            first.write(DATA[:500])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled()
    thread.join(10)
    assert offsets == [500]
    assert store.read(DESCRIPTOR.digest) == DATA


class GivenUpError(Exception):
    pass


def test_a_waiting_pull_can_give_up(store: Store) -> None:
    def give_up(seconds: float) -> None:
        raise GivenUpError

    with store.ingest(DESCRIPTOR) as first:
        with pytest.raises(GivenUpError), store.ingest(DESCRIPTOR, wait=give_up):
            pytest.fail("got the lock")
        first.write(DATA)
        first.commit()
    assert store.has(DESCRIPTOR.digest)


def _pull_in_a_process(root: Path, count: int, barrier: Callable[[], object]) -> None:
    store = Store(root)
    barrier()
    for i in range(count):
        data = DATA + str(i).encode()
        with store.ingest(Descriptor.of("a/b", data)) as ingest:
            if not ingest.present:
                ingest.write(data[ingest.offset :])
                ingest.commit()


def test_processes_that_want_the_same_blobs_all_end_right(store: Store) -> None:
    context = multiprocessing.get_context("spawn")  # safe beside any thread
    barrier = context.Barrier(3)
    processes = [
        context.Process(target=_pull_in_a_process, args=(store.root, 30, barrier.wait))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(store.digests()) == sorted(digest_of(DATA + str(i).encode()) for i in range(30))
    assert leftovers(store) == []


@settings(max_examples=50, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=300),
    cuts=st.lists(st.integers(0, 300), max_size=5),
)
def test_any_row_of_interruptions_ends_in_the_same_blob(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int]
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    descriptor = Descriptor.of("a/b", data)
    for cut in cuts:
        with pytest.raises(ConnectionError):  # noqa: PT012
            with store.ingest(descriptor) as ingest:
                ingest.write(data[ingest.offset : cut])
                raise ConnectionError
    fill(store, descriptor, data)
    assert store.read(descriptor.digest) == data
    assert leftovers(store) == []


def test_a_new_store_is_its_owners_own(tmp_path: Path) -> None:
    """What it took a password to get is not for everybody on the machine."""
    Store(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "shared").mkdir(mode=0o750)
    Store(tmp_path / "shared")
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o750
