"""Several blobs at a time: which error is told."""

from __future__ import annotations

import threading

import pytest

from reference.descriptors import OCI_LAYER, Descriptor
from reference.downloads import Downloads
from reference.errors import LayerError, NotFound
from reference.progress import Cancellation

ONE, OTHER = (Descriptor(OCI_LAYER, f"sha256:{digit * 64}", 1) for digit in "12")


def test_what_stops_the_downloads_is_told_and_not_that_they_were_stopped() -> None:
    cancellation, begun = Cancellation(), threading.Event()

    def fetch(descriptor: Descriptor) -> None:
        begun.set()
        cancellation.wait(30)

    def pull() -> None:
        with Downloads(fetch, 2, cancellation) as downloads:
            downloads.start([ONE])
            assert begun.wait(10)
            raise LayerError("a layer that can't be applied")

    with pytest.raises(LayerError):
        pull()


def test_without_a_limit_all_are_fetched_at_a_time() -> None:
    """CONC-03"""
    many = [Descriptor(OCI_LAYER, f"sha256:{number:064x}", 1) for number in range(8)]
    together = threading.Barrier(len(many))
    with Downloads(lambda descriptor: together.wait(10) and None, 0, Cancellation()) as downloads:
        downloads.start(many)
        downloads.wait_all()


def test_downloads_begin_in_the_order_of_the_manifest() -> None:
    """CONC-04; what a manifest lists twice is fetched once (BLOB-24)."""
    many = [Descriptor(OCI_LAYER, f"sha256:{number:064x}", 1) for number in (3, 1, 2, 1)]
    fetched: list[Descriptor] = []
    with Downloads(fetched.append, 1, Cancellation()) as downloads:
        downloads.start(many)
        downloads.wait_all()
    assert fetched == many[:3]


def test_a_failed_download_is_told_and_not_that_others_were_stopped() -> None:
    cancellation = Cancellation()

    def fetch(descriptor: Descriptor) -> None:
        if descriptor is OTHER:
            raise NotFound("nowhere", status=404, host="registry.test")
        cancellation.wait(30)

    def pull() -> None:
        with Downloads(fetch, 2, cancellation) as downloads:
            downloads.start([ONE, OTHER])
            downloads.wait_all()

    with pytest.raises(NotFound):
        pull()
