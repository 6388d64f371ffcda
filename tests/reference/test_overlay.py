"""The overlayfs snapshotter: layers that images share, and the kernel's own whiteouts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import can_mount

from fakeregistry import (
    Directory,
    File,
    Hardlink,
    Image,
    Layer,
    OpaqueWhiteout,
    Registries,
    Registry,
    Symlink,
    Whiteout,
    an_image,
    blob,
)
from fakeregistry.content.trees import of_every_kind, replacements, whiteout_orders
from reference.check import _differences
from reference.config import Config, Request
from reference.errors import ConfigError, DiffIDMismatch, PullError, StoreError
from reference.layers import LayerApplier
from reference.local import Found
from reference.overlay import OverlaySnapshots
from reference.pull import Puller

AMD64 = "linux/amd64"


@pytest.fixture(autouse=True)
def _mounts(tmp_path: Path) -> None:
    if why := can_mount(tmp_path / "probe"):
        pytest.skip(why)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("overlay") as registries:
        yield registries.registry()


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(Config(platform=AMD64, snapshotter="overlayfs"), tmp_path / "store")


BASE = Layer(
    (
        Directory("etc", mode=0o750),
        File("etc/kept", "kept", mode=0o640, uid=3, gid=4),
        File("etc/gone", "gone"),
        Directory("old"),
        File("old/one", "1"),
        File("old/two", "2"),
        File("replaced", "a file"),
        File("linked", "linked"),
    )
)
CHANGES = Layer(
    (
        Whiteout("etc/gone"),
        OpaqueWhiteout("old"),
        File("old/three", "3"),
        Directory("replaced"),
        File("replaced/inside", "x"),
        Hardlink("also", "linked"),
        Symlink("way", "etc/kept"),
    )
)
TOP = Layer((Whiteout("old"), Directory("old"), File("old/last", "4"), File("top", "top")))


def diff_ids(puller: Puller, image: Image) -> tuple[str, ...]:
    found: Found = puller.here(image.reference, AMD64)
    return puller.manifests().config(puller.read(found.manifest.config), found.manifest).diff_ids


def test_the_mounted_layers_are_the_tree_that_the_native_one_makes(
    registry: Registry, puller: Puller, tmp_path: Path
) -> None:
    image = registry.add(an_image([BASE, CHANGES, TOP], platform=AMD64))
    assert puller.pull(Request(image.reference)).rootfs is None
    native = Puller(Config(platform=AMD64), tmp_path / "native")
    tree = native.pull(Request(image.reference)).rootfs
    assert tree is not None
    with puller.unpacked.view(diff_ids(puller, image)) as merged:
        assert list(_differences(tree, merged, "/")) == []
        assert not os.path.lexists(merged / "etc/gone")
        assert sorted(os.listdir(merged / "old")) == ["last"]
        assert (merged / "also").stat().st_ino == (merged / "linked").stat().st_ino
    assert puller.check() == []
    assert not [name for name in os.listdir(puller.unpacked.root) if name.startswith(".")]


ODD = {**whiteout_orders(), "replacements": replacements(), "kinds": (of_every_kind(), TOP)}


@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_trees_come_to_the_same(
    registry: Registry, puller: Puller, tmp_path: Path, name: str
) -> None:
    image = registry.add(an_image(ODD[name], platform=AMD64))
    puller.pull(Request(image.reference))
    native = Puller(Config(platform=AMD64), tmp_path / "native")
    tree = native.pull(Request(image.reference)).rootfs
    assert tree is not None
    with puller.unpacked.view(diff_ids(puller, image)) as merged:
        assert list(_differences(tree, merged, "/")) == []


def test_a_whiteout_is_kept_as_the_kernel_keeps_it(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image([BASE, CHANGES], platform=AMD64))
    puller.pull(Request(image.reference))
    upper = puller.unpacked.folders_of(diff_ids(puller, image))[1]
    found = (upper / "etc/gone").lstat()
    assert stat.S_ISCHR(found.st_mode)
    assert found.st_rdev == 0
    assert sorted(os.listdir(upper)) == ["also", "etc", "linked", "old", "replaced", "way"]


def test_images_share_the_layers_that_they_have_in_common(
    registry: Registry, puller: Puller
) -> None:
    """CONC-06"""
    one = registry.add(an_image([BASE, CHANGES], platform=AMD64), "app/one")
    two = registry.add(an_image([BASE, TOP], platform=AMD64), "app/two")
    puller.pull(Request(one.reference))
    puller.pull(Request(two.reference))
    assert len(puller.unpacked.folders()) == 3
    for record in puller.records.list():
        if record.target.digest == one.digest:
            puller.records.remove(record.name)
    assert puller.collect().snapshots == 1
    assert puller.check() == []
    with puller.unpacked.view(diff_ids(puller, two)) as merged:
        assert (merged / "top").read_text() == "top"


def test_a_layer_that_fails_leaves_those_below_and_nothing_else(
    registry: Registry, puller: Puller
) -> None:
    """CONC-12"""
    wrong = an_image([BASE, CHANGES], platform=AMD64)
    lie = an_image([BASE, CHANGES], platform=AMD64, diff_ids=(BASE.diff_id, TOP.diff_id))
    assert wrong.digest != lie.digest
    image = registry.add(lie)
    with pytest.raises(DiffIDMismatch):
        puller.pull(Request(image.reference))
    assert len(os.listdir(puller.unpacked.root)) == 1
    assert puller.records.list() == []


def test_what_a_killed_pull_left_mounted_is_collected(puller: Puller) -> None:
    unpacked = puller.unpacked
    assert isinstance(unpacked, OverlaySnapshots)
    below = [unpacked.root / "one", unpacked.root / "two"]
    for folder in below:
        folder.mkdir()
        (folder / folder.name).write_text("x")
    left = unpacked.mounted(below)
    point = left.__enter__()
    assert sorted(os.listdir(point)) == ["one", "two"]
    assert puller.collect().snapshots == 3
    assert os.listdir(unpacked.root) == []
    with pytest.raises(StoreError, match="cannot unmount"):
        left.__exit__(None, None, None)


def test_more_layers_than_options_have_room_for_are_refused(tmp_path: Path) -> None:
    snapshots = OverlaySnapshots(tmp_path, LayerApplier)
    with (
        pytest.raises(StoreError, match="300 layers are more"),
        snapshots.mounted([tmp_path] * 300),
    ):
        pass


def test_127_layers_fit(registry: Registry, puller: Puller) -> None:
    layers = [Layer((File(f"f{number}", str(number)),)) for number in range(127)]
    image = registry.add(an_image(layers, platform=AMD64))
    puller.pull(Request(image.reference))
    with puller.unpacked.view(diff_ids(puller, image)) as merged:
        assert len(os.listdir(merged)) == 127


def test_a_runtime_has_its_own_snapshotter(registry: Registry, tmp_path: Path) -> None:
    """MISC-02"""
    config = Config(platform=AMD64, runtimes={"kata": "overlayfs", "runc": ""})
    puller = Puller(config, tmp_path / "store")
    image = registry.add(an_image(2, platform=AMD64))
    puller.pull(Request(image.reference, runtime_handler="kata"))
    assert len(puller.snapshotter("overlayfs").folders()) == 2
    assert puller.snapshotter("native").folders() == []
    puller.pull(Request(image.reference, runtime_handler="runc"))
    assert len(puller.snapshotter("native").folders()) == 1


@pytest.mark.parametrize(
    ("config", "handler", "said"),
    [
        (Config(snapshotter="zfs"), "", "no snapshotter is called 'zfs'"),
        (Config(runtimes={"kata": "zfs"}), "kata", "no snapshotter is called 'zfs'"),
        (Config(), "kata", "no runtime is called 'kata'"),
    ],
)
def test_an_unknown_one_is_refused_before_any_request(
    registry: Registry, tmp_path: Path, config: Config, handler: str, said: str
) -> None:
    """MISC-03, MISC-05; in one plain line (Q-26)"""
    image = registry.add(an_image(1, platform=AMD64))
    with pytest.raises(ConfigError, match=said):
        Puller(config, tmp_path / "store").pull(
            Request(image.reference, platform=AMD64, runtime_handler=handler)
        )
    assert registry.requests() == []


def test_a_failing_layer_ends_the_pull(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image([BASE, CHANGES], platform=AMD64))
    registry.on(blob(image.layers[1])).status(404)
    with pytest.raises(PullError):
        puller.pull(Request(image.reference))
    assert puller.records.list() == []
