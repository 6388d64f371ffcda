"""Canaries: whatever is done to a file outside of the store is seen, and told in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.canaries import canaries_touched, place_canaries


def test_untouched(tmp_path: Path) -> None:
    place_canaries(tmp_path)
    (tmp_path / "stores/main").mkdir(parents=True)

    assert canaries_touched(tmp_path) == []


@pytest.mark.parametrize(
    ("deed", "line"),
    [
        (lambda top: (top / "outside/canary").write_text("x"), "changed outside/canary"),
        (lambda top: (top / "outside/canary").unlink(), "removed outside/canary"),
        (lambda top: (top / "canary").chmod(0o777), "changed the attributes of canary"),
        (lambda top: os.utime(top / "canary", (1, 1)), "changed the attributes of canary"),
        (
            lambda top: os.link(top / "outside/etc/passwd", top / "trust"),
            "made a hard link to outside/etc/passwd",
        ),
        (lambda top: (top / "outside/new").mkdir(), "wrote outside/new"),
        (lambda top: (top / "new").write_text(""), "wrote new beside the store"),
        (lambda top: (top / "outside/etc").chmod(0o700), "changed outside/etc"),
        (lambda top: (top / "outside").rename(top / "stores"), "changed outside,"),
    ],
)
def test_touched(tmp_path: Path, deed: Callable[[Path], object], line: str) -> None:
    place_canaries(tmp_path)

    deed(tmp_path)

    assert any(found.startswith(line) for found in canaries_touched(tmp_path))


def test_a_symlink_in_place_of_a_canary_is_a_change(tmp_path: Path) -> None:
    place_canaries(tmp_path)
    (tmp_path / "outside/canary").unlink()
    (tmp_path / "outside/canary").symlink_to("../canary")

    assert canaries_touched(tmp_path) == [
        "changed outside/canary, which lies outside of store and output"
    ]
