"""A pull that is killed at any of its steps: nothing broken is visible, the next one succeeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from crashing import Job, can_mount

from fakeregistry import (
    Directory,
    File,
    Hardlink,
    Image,
    Layer,
    Registries,
    Symlink,
    Whiteout,
    an_image,
)

PARTS = 4
"""Runs over every fourth step, which pytest's workers share."""


@pytest.fixture
def image() -> Iterator[Image]:
    base = Layer(
        (
            Directory("etc"),
            *(File(f"etc/file{number}", f"content {number}") for number in range(12)),
            Symlink("etc/link", "file1"),
            Hardlink("etc/hard", "etc/file2"),
        )
    )
    top = Layer((Whiteout("etc/file3"), Directory("new"), File("new/file", "x" * 5000)))
    with Registries("crash") as registries:
        yield registries.registry().add(an_image([base, top], platform="linux/amd64"))


def run(job: Job) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("crashing.py")), json.dumps(asdict(job))],
        capture_output=True,
        text=True,
        timeout=240,
        env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *found, end = map(json.loads, done.stdout.splitlines())
    assert end == {"end": job.first}
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_step(image: Image, tmp_path: Path, part: int) -> None:
    digests = [image.digest, image.config.digest, *(layer.digest for layer in image.layers)]
    found = run(
        Job(image.reference, image.image_id, digests, str(tmp_path), first=part, step=PARTS)
    )
    assert [each for each in found if not each["ok"] or each["wrong"]] == []
    assert len(found) * PARTS >= 200, f"{len(found)} points only"


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_while_layers_are_mounted(image: Image, tmp_path: Path, part: int) -> None:
    if why := can_mount(tmp_path / "probe"):
        pytest.skip(why)
    digests = [image.digest, image.config.digest, *(layer.digest for layer in image.layers)]
    job = Job(
        *(image.reference, image.image_id, digests, str(tmp_path)),
        *(part, PARTS, "overlayfs"),
    )
    found = run(job)
    assert [each for each in found if not each["ok"] or each["wrong"]] == []
    assert len(found) * PARTS >= 100
