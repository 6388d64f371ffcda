"""Garbage collection and checking: what goes, what stays, and what is noticed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakeregistry import File, Image, Layer, Registries, Registry, an_image, an_index, blob
from reference.cli import main
from reference.config import Config, Request
from reference.errors import NotFound, StoreError
from reference.leases import InUseError, at_once
from reference.pull import Puller

AMD64 = "linux/amd64"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("collect") as registries:
        yield registries.registry()


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(Config(platform=AMD64), tmp_path / "store")


def image(registry: Registry, name: str, *shared: Layer) -> Image:
    own = Layer((File(f"etc/{name}", name),))
    return registry.add(an_image([*shared, own], platform=AMD64), f"app/{name}")


SHARED = Layer((File("etc/shared", "shared"),))


def test_what_a_removed_image_alone_had_goes(registry: Registry, puller: Puller) -> None:
    """IMG-15, LAYER-33: what a document lists is kept, without labels that say so once more."""
    kept, gone = image(registry, "kept", SHARED), image(registry, "gone", SHARED)
    left = puller.pull(Request(kept.reference))
    rootfs = puller.pull(Request(gone.reference)).rootfs
    for record in puller.records.list():
        if record.target.digest == gone.digest:
            puller.records.remove(record.name)

    done = puller.collect()

    assert (done.blobs, done.snapshots, done.partial) == (3, 1, 0)
    assert not rootfs.exists()  # type: ignore[union-attr]
    assert sorted(puller.content.digests()) == sorted(
        {kept.digest, kept.config.digest, *(layer.digest for layer in kept.layers)}
    )
    assert (left.rootfs / "etc/kept").read_text() == "kept"  # type: ignore[operator]
    assert puller.collect().blobs == 0


def test_platforms_of_an_index_that_never_came_are_no_matter(
    registry: Registry, puller: Puller
) -> None:
    both = registry.add(an_index(an_image(1, platform=AMD64), an_image(1, platform="linux/arm64")))
    puller.pull(Request(both.reference))
    assert puller.collect().blobs == 0
    assert puller.check() == []


def test_the_remains_of_a_failed_pull_go(registry: Registry, puller: Puller) -> None:
    made = image(registry, "failed", SHARED)
    puller = Puller(replace(puller.config, max_concurrent_downloads=1), puller.root)
    registry.on(blob(made.layers[1]), method="GET").first().truncate_after(20)
    registry.on(blob(made.layers[1]), method="GET").after(1).status(404)
    with pytest.raises(NotFound):
        puller.pull(Request(made.reference))
    assert puller.content.partial()
    assert puller.collect().blobs == 3
    assert puller.content.partial() == []
    assert list(puller.content.digests()) == []


def test_a_collection_waits_for_a_pull(registry: Registry, puller: Puller) -> None:
    """IMG-18"""
    made = image(registry, "slow", SHARED)
    puller = Puller(replace(puller.config, max_concurrent_downloads=1), puller.root)
    held = registry.on(blob(made.layers[1])).stall_after(10)
    pulling = threading.Thread(target=puller.pull, args=[Request(made.reference)])
    pulling.start()
    assert held.wait_holding()
    with pytest.raises(InUseError):
        puller.collect(at_once)
    assert puller.content.has(made.layers[0].digest)
    held.release()
    pulling.join(10)
    assert puller.collect().blobs == 0


def test_layers_of_an_unpacked_image_need_not_be_kept(registry: Registry, tmp_path: Path) -> None:
    """IMG-16, CONC-06"""
    made = image(registry, "small", SHARED)
    puller = Puller(Config(platform=AMD64, discard_unpacked_layers=True), tmp_path / "store")
    pulled = puller.pull(Request(made.reference))
    assert sorted(puller.content.digests()) == sorted([made.digest, made.config.digest])
    assert puller.check() == []
    again = puller.pull(Request(made.reference))
    assert again.rootfs == pulled.rootfs
    assert len(registry.requests(blob(made.layers[0]), method="GET")) == 1


def test_a_damaged_blob_is_found_and_can_be_had_again(registry: Registry, puller: Puller) -> None:
    made = image(registry, "damaged", SHARED)
    puller.pull(Request(made.reference))
    path = puller.content.path(made.layers[0].digest)
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert [p.content for p in puller.check(repair=True)] == [made.layers[0].digest]
    assert [p.what for p in puller.check()] == [
        f"{record.name}: layer {made.layers[0].digest} isn't here"
        for record in puller.records.list()
    ]
    puller.pull(Request(made.reference))
    assert puller.check() == []


@pytest.mark.parametrize("harm", ["content", "mode", "removed", "added"])
def test_a_snapshot_that_was_changed_is_found(
    registry: Registry, puller: Puller, harm: str
) -> None:
    made = image(registry, "changed", SHARED)
    rootfs = puller.pull(Request(made.reference)).rootfs
    assert rootfs is not None
    victim = rootfs / "etc/shared"
    found = victim.stat()
    if harm == "content":
        victim.write_text("SHARED")
        os.utime(victim, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif harm == "mode":
        victim.chmod(0o600)
    elif harm == "removed":
        victim.unlink()
    else:
        (rootfs / "etc/more").write_text("")
    (problem,) = puller.check(repair=True)
    assert problem.folder == rootfs
    assert not rootfs.exists()
    puller.pull(Request(made.reference))
    assert puller.check() == []


def test_a_record_without_its_manifest_is_found(registry: Registry, puller: Puller) -> None:
    made = image(registry, "lost")
    puller.pull(Request(made.reference))
    puller.content.delete(made.digest)
    names = {record.name for record in puller.records.list()}
    assert {p.what for p in puller.check()} == {
        f"{name}: no image of {made.digest} is here" for name in names
    }


def test_a_pull_that_fails_leaves_nothing_that_a_check_minds(
    registry: Registry, puller: Puller
) -> None:
    made = image(registry, "absent")
    registry.on(blob(made.layers[0])).status(404)
    with pytest.raises(NotFound):
        puller.pull(Request(made.reference))
    assert puller.check() == []


def test_what_is_shown_is_what_was_pulled(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry that needs an OS feature isn't pulled, and so isn't the image (IDX-14)."""
    passed_over = an_image(platform=AMD64, os_features=("x",), salt="other")
    plain = an_image(platform=AMD64)
    made = registry.add(an_index(passed_over, plain))
    options = ["--root", str(tmp_path / "store"), "--platform", AMD64]
    assert main(["pull", *options, "-q", made.reference]) == 0
    capsys.readouterr()
    assert main(["inspect", *options, made.reference]) == 0
    assert json.loads(capsys.readouterr().out)["imageId"] == plain.image_id


def test_what_a_quirk_let_in_is_shown(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `os_features_ignored` it is pulled, and found again by who knows of no switch."""
    demanding = an_image(platform=AMD64, os_features=("x",), salt="other")
    made = registry.add(an_index(demanding, an_image(platform=AMD64)))
    options = ["--root", str(tmp_path / "store"), "--platform", AMD64]
    assert main(["pull", *options, "-q", "--quirk", "os_features_ignored", made.reference]) == 0
    capsys.readouterr()
    assert main(["inspect", *options, made.reference]) == 0
    assert json.loads(capsys.readouterr().out)["imageId"] == demanding.image_id


def test_the_commands_say_what_they_did(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = image(registry, "shown")
    root = ["--root", str(tmp_path / "store")]
    assert main(["pull", *root, "--platform", AMD64, "-q", made.reference]) == 0
    capsys.readouterr()
    assert main(["inspect", *root, "--platform", AMD64, made.reference]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["imageId"] == made.image_id
    assert shown["target"]["digest"] == made.digest
    assert [layer["digest"] for layer in shown["layers"]] == [made.layers[0].digest]
    (mount,) = shown["snapshots"]["native"]["mounts"]
    assert Path(mount["source"]).is_dir()
    assert main(["fsck", *root]) == 0
    assert main(["rm", *root, made.reference]) == 0
    capsys.readouterr()
    assert main(["gc", *root]) == 0
    assert capsys.readouterr().out.startswith("removed 3 blobs, 0 parts of blobs and 1 snapshots")


def test_a_damaged_store_ends_fsck_with_one_line_for_each_problem(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = image(registry, "broken")
    root = ["--root", str(tmp_path / "store")]
    assert main(["pull", *root, "--platform", AMD64, "-q", made.reference]) == 0
    path = tmp_path / "store/blobs" / made.layers[0].digest.replace(":", "/")
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    capsys.readouterr()
    assert main(["fsck", *root]) == 1
    said = capsys.readouterr()
    assert said.out == f"blob {made.layers[0].digest} is damaged\n"
    assert said.err == "refpull: 1 problems (see --repair)\n"


@pytest.mark.parametrize("command", ["gc", "fsck", "inspect"])
def test_without_a_store_there_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, "--root", str(tmp_path / "none")]
    assert main([*arguments, "x"] if command == "inspect" else arguments) == 1
    assert capsys.readouterr().err == f"refpull: there is no store in {tmp_path / 'none'}\n"
    assert not (tmp_path / "none").exists()


def test_leases_are_a_matter_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/lease").symlink_to("elsewhere")
    puller = Puller(Config(), tmp_path / "store")
    with pytest.raises(StoreError, match="lease"):
        puller.collect()
    assert not (tmp_path / "store/elsewhere").exists()
