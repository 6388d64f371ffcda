"""A disk that is full, or may not be written: one line says so, and nothing broken is visible."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakeregistry import File, Image, Layer, Registries, an_image
from reference.cli import main
from reference.config import Config, Request
from reference.errors import StoreError
from reference.pull import Puller

AMD64 = "linux/amd64"
Disk = Callable[[str], Path]


@pytest.fixture
def image() -> Iterator[Image]:
    layers = [
        Layer(tuple(File(f"etc/{layer}-{n}", os.urandom(6000).hex()) for n in range(10)))
        for layer in range(2)
    ]
    with Registries("disk") as registries:
        yield registries.registry().add(an_image(layers, platform=AMD64))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts a tmpfs with these options, or again with others."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        again = ["-o", "remount"] if os.path.ismount(folder) else []
        command = ["mount", "-t", "tmpfs", *again, "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        return folder

    yield mounted
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


@pytest.mark.parametrize("kib", [48, 64, 96, 128, 160, 200, 260, 320, 360, 400])
def test_on_a_full_disk_nothing_is_half_there(image: Image, disk: Disk, kib: int) -> None:
    root = disk(f"size={kib}k") / "store"
    with pytest.raises(StoreError, match=r"No space left|full") as caught:
        Puller(Config(platform=AMD64), root).pull(Request(image.reference))
    assert "\n" not in str(caught.value)
    disk("size=4m")
    puller = Puller(Config(platform=AMD64), root)
    assert puller.records.list() == []
    assert puller.check() == []
    rootfs = puller.pull(Request(image.reference)).rootfs
    assert rootfs is not None
    assert len(list((rootfs / "etc").iterdir())) == 20
    puller.collect()
    assert len(list(puller.content.digests())) == 4
    assert puller.content.partial() == []


def test_a_store_that_may_not_be_written_can_be_read(
    image: Image, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    root = disk("size=4m") / "store"
    pull = ["pull", "-q", "--root", str(root), "--platform", AMD64, image.reference]
    assert main(pull) == 0
    disk("ro")
    capsys.readouterr()
    assert main(["images", "--root", str(root)]) == 0
    assert image.reference in capsys.readouterr().out
    assert main(["inspect", "--root", str(root), "--platform", AMD64, image.reference]) == 0
    capsys.readouterr()
    for command in (
        pull,
        ["rm", "--root", str(root), image.reference],
        ["gc", "--root", str(root)],
    ):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "read" in said.lower()


def test_the_command_says_that_the_disk_is_full(image: Image, disk: Disk) -> None:
    root = disk("size=128k") / "store"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "reference", "pull", "-q", "--root", str(root)),
            *("--platform", AMD64, image.reference),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
