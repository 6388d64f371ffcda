"""Unpacked images in the store: what a killed pull leaves, and two that make the same one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reference.layers import LayerApplier
from reference.snapshots import Snapshots


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path, LayerApplier)


def names(root: Path) -> list[str]:
    return sorted(os.listdir(root / "snapshots"))


def test_what_a_killed_pull_left_is_removed_by_the_next(
    snapshots: Snapshots, tmp_path: Path
) -> None:
    left = tmp_path / "snapshots" / ".new-left" / "etc"
    left.mkdir(parents=True)
    left.chmod(0)
    whole = tmp_path / "snapshots" / "sha256-whole"
    whole.mkdir()
    with snapshots.making() as made:
        assert names(tmp_path) == [made.name, "sha256-whole"]
    assert names(tmp_path) == ["sha256-whole"]


def test_one_that_is_being_made_is_left_alone(snapshots: Snapshots, tmp_path: Path) -> None:
    with snapshots.making() as one, Snapshots(tmp_path, LayerApplier).making() as other:
        assert names(tmp_path) == sorted([one.name, other.name])


def test_one_that_was_swept_away_before_it_was_locked_is_made_again(
    snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def lock(fd: int, how: int) -> None:
        if not taken:
            (path,) = (tmp_path / "snapshots").iterdir()
            taken.append(path)
            path.rmdir()

    monkeypatch.setattr("reference.snapshots.fcntl.flock", lock)
    with snapshots.making() as made:
        assert made.is_dir()
        assert [made] != taken
    assert names(tmp_path) == []


def test_one_that_was_swept_away_before_it_was_opened_is_made_again(
    snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    really = os.open

    def opened(path: str, flags: int) -> int:
        if not taken:
            taken.append(path)
            os.rmdir(path)
        return really(path, flags)

    monkeypatch.setattr("reference.snapshots.os.open", opened)
    with snapshots.making() as made:
        monkeypatch.undo()
        assert made.is_dir()
        assert [made] != taken
    assert names(tmp_path) == []
