"""Layers: what an entry and a whiteout mean, and that no tar whatever reaches outside the root."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reference import decompress, descriptors, files
from reference.config import Config
from reference.decompress import Decompressor, zstd
from reference.descriptors import OCI_LAYER, OCI_LAYER_GZIP, digest_of
from reference.errors import DiffIDMismatch, LayerError, PullError, StoreError, UnsafeEntry
from reference.layers import LayerApplier
from reference.local import Local
from reference.rootfs import MAX_PATH, Root, remove_tree

ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class E:
    """An entry: a file unless `kind` says otherwise; `to` is a link's target."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    to: str = ""
    mode: int = 0o644
    mtime: float = 1000
    pax: tuple[tuple[str, str], ...] = ()


def d(name: str, mode: int = 0o755, mtime: float = 1000) -> E:
    return E(name, kind=tarfile.DIRTYPE, mode=mode, mtime=mtime)


def ln(name: str, to: str) -> E:
    return E(name, kind=tarfile.SYMTYPE, to=to, mode=0o777)


def hard(name: str, to: str) -> E:
    return E(name, kind=tarfile.LNKTYPE, to=to)


def tar_of(*entries: E) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.mode = entry.kind, entry.to, entry.mode
            info.mtime, info.size = entry.mtime, len(entry.data)
            info.uid, info.gid = os.geteuid(), os.getegid()
            info.pax_headers = dict(entry.pax)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def apply(root: Path, *layers: tuple[E, ...] | bytes, media_type: str = OCI_LAYER) -> None:
    root.mkdir(exist_ok=True)
    applier = LayerApplier(root)
    for layer in layers:
        blob = layer if isinstance(layer, bytes) else tar_of(*layer)
        applier.apply(io.BytesIO(blob), media_type)


def tree(root: Path) -> dict[str, str]:
    """Relative path -> content, link target or kind."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "dir"
        else:
            found[name] = path.read_text() if path.is_file() else "special"
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


# What entries mean


def test_files_of_all_kinds_with_their_attributes(root: Path) -> None:
    """LAYER-25, LAYER-27, LAYER-20"""
    apply(
        root,
        (
            d("bin", 0o1751, 5000),
            E("bin/su", b"x", mode=0o4755, mtime=1234.5),
            ln("bin/sh", "su"),
            hard("bin/su2", "bin/su"),
            E("fifo", kind=tarfile.FIFOTYPE, mode=0o622),
        ),
    )
    assert tree(root) == {
        "bin": "dir",
        "bin/su": "x",
        "bin/sh": "-> su",
        "bin/su2": "x",
        "fifo": "special",
    }
    directory, program, fifo = (os.lstat(root / n) for n in ("bin", "bin/su", "fifo"))
    assert stat.S_IMODE(directory.st_mode) == 0o1751
    assert directory.st_mtime == 5000
    assert stat.S_IMODE(program.st_mode) == 0o4755
    assert program.st_mtime_ns == 1234_500_000_000
    assert program.st_nlink == 2
    assert stat.S_ISFIFO(fifo.st_mode)
    assert stat.S_IMODE(fifo.st_mode) == 0o622
    assert os.lstat(root / "bin/sh").st_mtime == 1000


def test_later_layers_win(root: Path) -> None:
    """LAYER-11"""
    apply(root, (E("a", b"1"), E("b", b"1")), (E("a", b"2"),))
    assert tree(root) == {"a": "2", "b": "1"}


def test_a_changed_file_leaves_its_hard_links_alone(root: Path) -> None:
    apply(root, (E("a", b"1"), hard("b", "a")), (E("a", b"2"),))
    assert tree(root) == {"a": "2", "b": "1"}


def test_missing_parents_are_made_and_lower_ones_keep_their_attributes(root: Path) -> None:
    """LAYER-24"""
    apply(root, (d("etc", 0o700, 77),), (E("etc/a"), E("new/deep/b")))
    assert os.stat(root / "etc").st_mtime == 77
    assert stat.S_IMODE(os.stat(root / "etc").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(root / "new/deep").st_mode) == 0o755


def test_the_roots_own_entry_is_ignored(root: Path) -> None:
    """LAYER-30"""
    apply(root, (d("./", 0o700), d("/", 0o711), E("../..", b""), E("a")))
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o755
    assert tree(root) == {"a": ""}


@pytest.mark.parametrize("below", [E("x", b"file"), d("x"), ln("x", "y"), ln("x", "elsewhere")])
@pytest.mark.parametrize("above", [E("x", b"new"), d("x"), ln("x", "z"), hard("x", "keep")])
def test_one_kind_over_another(root: Path, below: E, above: E) -> None:
    """LAYER-22, LAYER-23"""
    lower = [E("keep", b"keep"), d("elsewhere"), E("elsewhere/safe", b"safe"), below]
    if below.kind == tarfile.DIRTYPE:
        lower.append(E("x/child", b"child"))
    apply(root, tuple(lower), (above,))
    found = tree(root)
    assert found.pop("keep") == "keep"
    assert found.pop("elsewhere") == "dir"
    assert found.pop("elsewhere/safe") == "safe"
    expected = {
        tarfile.REGTYPE: "new",
        tarfile.DIRTYPE: "dir",
        tarfile.SYMTYPE: "-> z",
        tarfile.LNKTYPE: "keep",
    }
    merged = {"x/child": "child"} if below.kind == above.kind == tarfile.DIRTYPE else {}
    assert found == {"x": expected[above.kind], **merged}


def test_a_hard_link_to_a_link_is_that_link(root: Path) -> None:
    """LAYER-20"""
    apply(root, (E("f", b"f"), ln("l", "f"), hard("h", "l")))
    assert tree(root)["h"] == "-> f"


def test_hard_links_over_themselves_and_to_nothing_are_refused(root: Path) -> None:
    """LAYER-21"""
    for entries in ((hard("h", "gone"),), (hard("h", "no/dir"),), (E("f"), hard("f", "f"))):
        with pytest.raises(LayerError, match="missing"):
            apply(root, entries)


def test_a_file_as_a_parent_is_refused(root: Path) -> None:
    with pytest.raises(LayerError, match="f is not a directory"):
        apply(root, (E("f"), E("f/x")))


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_owners_and_devices_with_root(root: Path) -> None:
    info = tarfile.TarInfo("null")
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        archive.addfile(info)
        for name, kind in (("f", tarfile.REGTYPE), ("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.uid, info.gid, info.linkname = kind, 1234, 4321, "x"
            archive.addfile(info)
    apply(root, buffer.getvalue())
    for name in ("f", "d", "l"):
        found = os.lstat(root / name)
        assert (found.st_uid, found.st_gid) == (1234, 4321)
    if os.path.lexists(root / "null"):  # root of a user namespace can't make it
        assert os.lstat(root / "null").st_rdev == os.makedev(1, 3)


def test_without_root_owners_and_devices_are_left_out(root: Path) -> None:
    root.mkdir()
    info = tarfile.TarInfo("null")
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
    other = tarfile.TarInfo("f")
    other.uid, other.mode = 1234, 0o4711
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        archive.addfile(info)
        archive.addfile(other)
    LayerApplier(root, privileged=False).apply(io.BytesIO(buffer.getvalue()), OCI_LAYER)
    assert tree(root) == {"f": ""}
    assert os.stat(root / "f").st_uid == os.geteuid()
    assert stat.S_IMODE(os.stat(root / "f").st_mode) == 0o4711


def test_without_root_closed_directories_are_opened_up_and_closed_again(root: Path) -> None:
    root.mkdir()
    applier = LayerApplier(root, privileged=False)
    layers = (
        (d("closed", 0o000), d("closed/in", 0o555), E("closed/in/a", b"1", mode=0o400)),
        (E("closed/in/b", b"2"), E("closed/.wh.nothing")),
        (E("closed/in/.wh.a"),),
    )
    for layer in layers:
        applier.apply(io.BytesIO(tar_of(*layer)), OCI_LAYER)
    assert stat.S_IMODE(os.stat(root / "closed").st_mode) == 0
    with Root(root, privileged=False) as opened:
        found = opened.directory(b"closed/in")
        assert found is not None
        assert os.listdir(found[0]) == ["b"]
    remove_tree(root)
    assert not root.exists()


def test_impossible_device_numbers_are_refused(root: Path) -> None:
    """LAYER-27"""
    info = tarfile.TarInfo("dev")
    info.type, info.devmajor, info.devminor = tarfile.BLKTYPE, 1 << 12, 0
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(LayerError, match="device number"):
        apply(root, buffer.getvalue())


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.REGTYPE])
@pytest.mark.parametrize(
    "record",
    [
        ("SCHILY.xattr.user.a\0b", "x"),
        pytest.param(
            ("uid", "9" * 19), marks=pytest.mark.skipif(not ROOT, reason="only root sets owners")
        ),
    ],
)
def test_attributes_that_no_kernel_takes_are_the_layers_fault(
    root: Path, kind: bytes, record: tuple[str, str]
) -> None:
    with pytest.raises(LayerError, match="cannot unpack x"):
        apply(root, (E("x", kind=kind, pax=(record,)),))


def test_xattrs_are_set_where_the_file_system_has_them(root: Path, tmp_path: Path) -> None:
    """LAYER-26"""
    probe = tmp_path / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"1")
    except OSError:
        pytest.skip("no user attributes on this file system")
    pax = (("SCHILY.xattr.user.a", "b"), ("SCHILY.xattr.trusted.t", "x"))
    apply(root, (E("f", pax=pax), E("dir", kind=tarfile.DIRTYPE, pax=pax), ln("l", "f")))
    for name in ("f", "dir"):
        assert os.listxattr(root / name) == ["user.a"]
        assert os.getxattr(root / name, "user.a") == b"b"


def test_sparse_files_have_holes_where_the_map_says(root: Path) -> None:
    """LAYER-29"""
    info = tarfile.TarInfo("GNUSparseFile.0/s")
    records = {"size": "1000000", "map": "10,3,999990,2", "name": "s"}
    info.pax_headers = {f"GNU.sparse.{key}": value for key, value in records.items()}
    info.size = 5
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"abcde"))
    apply(root, buffer.getvalue())
    content = (root / "s").read_bytes()
    assert len(content) == 1_000_000
    assert (content[10:13], content[999_990:999_992]) == (b"abc", b"de")
    assert content.count(0) == 999_995


# Whiteouts

LOWER = (d("dir"), E("dir/a", b"a"), d("dir/sub"), E("dir/sub/b", b"b"), E("top", b"top"))


@pytest.mark.parametrize(
    ("layer", "gone", "added"),
    [
        ((E("dir/.wh.a"),), {"dir/a"}, {}),
        ((E(".wh.top"),), {"top"}, {}),
        ((E(".wh.dir"),), {"dir", "dir/a", "dir/sub", "dir/sub/b"}, {}),
        ((E(".wh.nothing"), E("no/where/.wh.x"), E("no/.wh..wh..opq")), set(), {}),
        ((E("top/.wh.x"),), set(), {}),
        # Whatever its place, a whiteout hides lower layers only.
        ((E("top", b"new"), E(".wh.top")), set(), {"top": "new"}),
        ((E(".wh.top"), E("top", b"new")), set(), {"top": "new"}),
        (
            (E("dir/new", b"n"), E(".wh.dir")),
            {"dir/a", "dir/sub", "dir/sub/b"},
            {"dir/new": "n"},
        ),
        (
            (E("dir/new", b"n"), E("dir/.wh..wh..opq")),
            {"dir/a", "dir/sub", "dir/sub/b"},
            {"dir/new": "n"},
        ),
        (
            (E("dir/.wh..wh..opq"), E("dir/new", b"n")),
            {"dir/a", "dir/sub", "dir/sub/b"},
            {"dir/new": "n"},
        ),
        (
            (E("dir/sub/x", b"x"), E("dir/.wh..wh..opq"), E("dir/y", b"y")),
            {"dir/a", "dir/sub/b"},
            {"dir/sub/x": "x", "dir/y": "y"},
        ),
        ((E(".wh..wh..opq"),), {"dir", "dir/a", "dir/sub", "dir/sub/b", "top"}, {}),
        # What AUFS kept for itself is never visible.
        ((E(".wh..wh.aufs"), d(".wh..wh.plnk"), E(".wh..wh.plnk/1.2", b"x")), set(), {}),
        ((d(".wh..wh.orph"), E("dir/.wh..wh.plnk/deep/x")), set(), {}),
    ],
)
def test_whiteouts(root: Path, layer: tuple[E, ...], gone: set[str], added: dict[str, str]) -> None:
    """LAYER-12, LAYER-13, LAYER-14, LAYER-15, LAYER-37; the same by any snapshotter (Q-35)."""
    apply(root, LOWER)
    before = tree(root)
    apply(root, layer)
    expected = {name: what for name, what in before.items() if name not in gone} | added
    if any("/sub/x" in name for name in added):
        expected["dir/sub"] = "dir"
    assert tree(root) == expected


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "dir/.wh.", "dir/.wh..", "dir/.wh..."])
def test_whiteouts_of_a_parent_are_refused(root: Path, name: str) -> None:
    """LAYER-16"""
    apply(root, LOWER)
    before = tree(root)
    with pytest.raises(UnsafeEntry, match="invalid whiteout"):
        apply(root, (E(name),))
    assert tree(root) == before


def test_a_whiteout_removes_a_link_and_not_what_it_points_to(root: Path) -> None:
    apply(root, (d("real"), E("real/x", b"x"), ln("link", "real")), (E(".wh.link"),))
    assert tree(root) == {"real": "dir", "real/x": "x"}


def test_a_whiteout_through_a_linked_directory_acts_inside(root: Path) -> None:
    """LAYER-17"""
    apply(root, (d("real"), E("real/x"), ln("link", "/real")), (E("link/.wh.x"),))
    assert tree(root) == {"real": "dir", "link": "-> /real"}


# Nothing reaches outside


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A folder beside the root that has to stay as it is."""
    folder = tmp_path / "canary"
    folder.mkdir()
    (folder / "file").write_text("untouched")
    (folder / "file").chmod(0o640)
    os.utime(folder / "file", (1, 1))
    os.utime(folder, (1, 1))
    return folder


def state(folder: Path) -> list[tuple[object, ...]]:
    found = []
    for path in [folder, *sorted(folder.rglob("*"))]:
        info = os.lstat(path)
        found.append((path.name, info.st_mode, info.st_nlink, info.st_size, info.st_mtime_ns))
    return found


HOSTILE: dict[str, Callable[[str], tuple[E, ...]]] = {
    "dots": lambda c: (E("../canary/file", b"!"), E("a/../../../canary/new", b"!")),
    "absolute": lambda c: (E(f"{c}/file", b"!"), E(f"/{c}/new", b"!")),
    "absolute link": lambda c: (ln("l", c), E("l/file", b"!")),
    "relative link": lambda c: (ln("l", "../canary"), E("l/file", b"!")),
    "deep link": lambda c: (d("a"), d("a/b"), ln("a/b/l", "../../../canary"), E("a/b/l/file")),
    "chained": lambda c: (ln("up", ".."), ln("l", "up/canary"), E("l/file", b"!"), E("up/up/x")),
    "link to root": lambda c: (ln("l", "/"), E(f"l{c}/file", b"!")),
    "link as file": lambda c: (ln("f", f"{c}/file"), E("f", b"!", mode=0o777)),
    "file behind link": lambda c: (ln("l", f"{c}/file"), hard("h", "l"), E("h", b"!", mode=0o777)),
    "hard link out": lambda c: (E("x"), hard("h", f"../..{c}/file"), E("h", b"!")),
    "hard link via link": lambda c: (ln("l", c), hard("h", "l/file"), E("h", b"!")),
    "hard link over link": lambda c: (ln("l", f"{c}/file"), E("x"), hard("l", "x")),
    "dir over link": lambda c: (ln("l", c), d("l", 0o777), E("l/file", b"!")),
    "whiteout via link": lambda c: (ln("l", c), E("l/.wh.file")),
    "opaque via link": lambda c: (ln("l", "../canary"), E("l/.wh..wh..opq")),
    "whiteout of dots": lambda c: (E("../canary/.wh.file"), E("../.wh.canary")),
    "whiteout parent": lambda c: (E(".wh..."),),
    "fifo via link": lambda c: (ln("l", c), E("l/fifo", kind=tarfile.FIFOTYPE)),
    "dir via link": lambda c: (ln("l", c), d("l/new")),
    "link via link": lambda c: (ln("l", c), ln("l/new", "x"), hard("l/h", "l/new")),
    "swap": lambda c: (d("d"), E("d/a"), ln("d", c), E("d/file", b"!")),
    "swap back": lambda c: (ln("d", c), d("d"), E("d/x"), ln("d", c), E("d/.wh.file")),
    "swap parent": lambda c: (d("p"), d("p/d"), E("p/d/a"), ln("p", c), E("p/d/x"), E("p/file")),
    "nul": lambda c: (E("a", pax=(("path", "x\0y"),)),),
    "loop": lambda c: (ln("a", "b"), ln("b", "a"), E("a/x")),
    "self": lambda c: (ln("a", "a/a"), E("a/x")),
    "long path": lambda c: (E("x/" * 2100 + "f"),),
    "longer by links": lambda c: (
        *(ln("d/" * i * 500 + "l", "d/" * 500) for i in range(1)),
        *(E("l/" * i + "f") for i in (1, 5, 9)),
    ),
}


@pytest.mark.parametrize("layers", [1, 2], ids=["one-layer", "two-layers"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_layers_never_reach_outside(
    root: Path, canary: Path, kind: str, layers: int
) -> None:
    """LAYER-17, LAYER-18, LAYER-19, LAYER-20"""
    entries = HOSTILE[kind](str(canary))
    before = state(canary), [*sorted(os.listdir(root.parent)), "root"]
    try:
        if layers == 1:
            apply(root, entries)
        else:
            apply(root, *((entry,) for entry in entries))
    except LayerError:
        assert kind  # refusing is as good as staying inside
    assert state(canary) == before[0]
    assert sorted(os.listdir(root.parent)) == sorted(before[1])
    assert (canary / "file").read_text() == "untouched"


def test_parents_through_links_land_where_a_container_would_see_them(root: Path) -> None:
    apply(root, (ln("l", "/etc"), E("l/x", b"x"), ln("m", "../../var"), E("m/y/z", b"z")))
    found = tree(root)
    assert (found["etc/x"], found["var/y/z"]) == ("x", "z")


NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", ".wh.a", ".wh..wh..opq", "canary", ".wh..."]),
    min_size=1,
    max_size=4,
).map("/".join)
TARGETS = NAMES | st.sampled_from(["/", "..", "../canary", "/canary", "a/../../canary", "CANARY"])
ENTRY = st.builds(
    E,
    name=NAMES,
    data=st.sampled_from([b"", b"!"]),
    kind=st.sampled_from(
        [
            tarfile.REGTYPE,
            tarfile.DIRTYPE,
            tarfile.SYMTYPE,
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.FIFOTYPE,
        ]
    ),
    to=TARGETS,
    mode=st.sampled_from([0o644, 0o777, 0, 0o7777]),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(layers=st.lists(st.lists(ENTRY, max_size=6), min_size=1, max_size=3))
@example(layers=[[ln("a", "CANARY"), E("a/file", b"!")]])
def test_any_layers_stay_inside(canary: Path, layers: list[list[E]]) -> None:
    root = canary.parent / "root"
    before = state(canary)
    try:
        for layer in layers:
            entries = [
                E(e.name, e.data if e.kind == tarfile.REGTYPE else b"", e.kind, to, e.mode)
                for e in layer
                for to in [e.to.replace("CANARY", str(canary))]
            ]
            apply(root, tuple(entries))
    except LayerError:
        pass
    finally:
        remove_tree(root)
    assert state(canary) == before
    assert sorted(os.listdir(canary.parent)) == ["canary"]


def test_a_deep_tree_costs_no_stack_and_no_descriptors(root: Path) -> None:
    deep = "d/" * (MAX_PATH // 2 - 2) + "f"
    apply(root, (E(deep, b"x"),), (E(".wh.d"),))
    assert tree(root) == {}
    apply(root, (E(deep, b"x"),))
    remove_tree(root)
    assert not root.exists()


def test_no_descriptor_stays_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    apply(root, tuple(E(f"d{i}/f") for i in range(300)))
    with pytest.raises(LayerError):
        apply(root, (*(E(f"e{i}/f") for i in range(300)), E(".wh.")))
    assert len(os.listdir("/proc/self/fd")) == before


# The stream


CONTENT = tar_of(E("f", b"content" * 1000), d("x"), E("x/g", os.urandom(5000)))
BLOBS = {
    "none": CONTENT,
    "gzip": gzip.compress(CONTENT),
    "members": b"".join(gzip.compress(CONTENT[i : i + 999]) for i in range(0, len(CONTENT), 999)),
    "zero padded": gzip.compress(CONTENT[:700]) + bytes(70) + gzip.compress(CONTENT[700:]) + b"\0",
    "zstd": zstd.compress(CONTENT),
    "frames": zstd.compress(CONTENT[:700])
    + b"\x5a\x2a\x4d\x18\x03\0\0\0xyz"
    + zstd.compress(CONTENT[700:]),
    "skippable first": b"\x50\x2a\x4d\x18\x00\0\0\0" + zstd.compress(CONTENT),
}


@pytest.fixture(params=["isal", "zlib"])
def gzip_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib":
        monkeypatch.setattr(decompress, "inflater", decompress.zlib_inflater)
    elif decompress.inflater is decompress.zlib_inflater:
        pytest.skip("isal isn't installed")


@pytest.mark.usefixtures("gzip_by")
@pytest.mark.parametrize(
    "media_type",
    [
        descriptors.OCI_LAYER_GZIP,
        descriptors.OCI_LAYER_ZSTD,
        descriptors.OCI_FOREIGN_LAYER + "+gzip",
        descriptors.DOCKER_LAYER,
        descriptors.DOCKER_LAYER_GZIP,
        descriptors.DOCKER_FOREIGN_LAYER_GZIP,
    ],
)
@pytest.mark.parametrize("form", BLOBS)
def test_the_bytes_decide_the_compression(root: Path, form: str, media_type: str) -> None:
    """LAYER-01, LAYER-02, LAYER-03, LAYER-04"""
    root.mkdir()
    diff_id = digest_of(CONTENT)
    applier = LayerApplier(root)
    assert applier.apply(io.BytesIO(BLOBS[form]), media_type, diff_id) == diff_id
    assert (root / "f").read_bytes() == b"content" * 1000


def test_a_plain_oci_layer_is_taken_at_its_word(root: Path) -> None:
    """LAYER-03"""
    apply(root, CONTENT)
    with pytest.raises(LayerError, match="invalid tar"):
        apply(root, BLOBS["gzip"])


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.v1.tar+xz",
        "application/vnd.oci.image.layer.v1.squashfs",
        "application/vnd.oci.image.layer.v1.tar+gzip+zstd",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/octet-stream",
        "application/vnd.docker.image.rootfs.diff.tar.gzip+xz",
    ],
)
def test_types_that_nobody_can_unpack_are_refused(root: Path, media_type: str) -> None:
    """LAYER-07, ENC-04"""
    with pytest.raises(LayerError, match=r"can't be unpacked|encrypted"):
        apply(root, CONTENT, media_type=media_type)


@pytest.mark.usefixtures("gzip_by")
@pytest.mark.parametrize("form", ["gzip", "members", "zstd", "frames"])
def test_a_stream_cut_short_is_refused(root: Path, form: str) -> None:
    """LAYER-06"""
    blob = BLOBS[form]
    for cut in (10, len(blob) // 2, len(blob) - 1):
        with pytest.raises(LayerError):
            apply(root, blob[:cut], media_type=OCI_LAYER_GZIP)


@pytest.mark.usefixtures("gzip_by")
@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_garbage_after_the_stream_and_flipped_bits_are_refused(root: Path, form: str) -> None:
    blob = BLOBS[form]
    flipped = bytearray(blob)
    flipped[-6] ^= 1
    damaged = [blob + b"garbage"] + ([bytes(flipped)] if form == "gzip" else [])
    for each in damaged:
        with pytest.raises(LayerError, match=r"damaged|cut short"):
            apply(root, each, media_type=OCI_LAYER_GZIP)


@pytest.mark.parametrize(
    "blob",
    [b"", gzip.compress(b""), bytes(1024), gzip.compress(bytes(1024))],
    ids=["nothing", "gzip of nothing", "zeros", "gzip of zeros"],
)
def test_an_empty_layer_is_empty(root: Path, blob: bytes) -> None:
    """LAYER-32"""
    apply(root, blob, media_type=OCI_LAYER_GZIP)
    assert tree(root) == {}


def test_trailing_bytes_belong_to_the_diff_id(root: Path) -> None:
    """LAYER-05"""
    root.mkdir()
    trailing = CONTENT + b"\0" * 512 + b"trailing" * 10_000
    diff_id = "sha256:" + hashlib.sha256(trailing).hexdigest()
    blob = gzip.compress(trailing)
    assert LayerApplier(root).apply(io.BytesIO(blob), OCI_LAYER_GZIP, diff_id) == diff_id
    with pytest.raises(DiffIDMismatch):
        LayerApplier(root).apply(io.BytesIO(blob), OCI_LAYER_GZIP, digest_of(CONTENT))


def test_a_diff_id_of_another_algorithm(root: Path) -> None:
    root.mkdir()
    diff_id = digest_of(CONTENT, "sha512")
    assert LayerApplier(root).apply(io.BytesIO(CONTENT), OCI_LAYER, diff_id) == diff_id


@pytest.mark.usefixtures("gzip_by")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(st.binary(max_size=400) | st.integers(0, 1_000_000).map(bytes), max_size=4),
    form=st.sampled_from(["gzip", "zstd"]),
    size=st.sampled_from([1, 7, 65536]),
)
def test_decompression_is_exact_and_its_steps_are_bounded(
    parts: list[bytes], form: str, size: int
) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if form == "gzip" else zstd.compress
    blob = b"".join(pack(part) for part in parts)
    chunks = (blob[at : at + size] for at in range(0, len(blob), size))
    unpack = Decompressor().gunzip if form == "gzip" else Decompressor().unzstd
    digest, whole = 0, 0
    for piece in unpack(chunks):
        assert 0 < len(piece) <= decompress.STEP
        digest, whole = zlib.crc32(piece, digest), whole + len(piece)
    assert whole == sum(map(len, parts))
    assert digest == zlib.crc32(b"".join(parts))


def test_a_bomb_is_bounded_when_asked(root: Path) -> None:
    """LAYER-31"""
    root.mkdir()
    blob = gzip.compress(tar_of(E("big", bytes(10_000_000))))
    applier = LayerApplier(root, max_layer_size=1_000_000)
    with pytest.raises(LayerError, match="more than 1000000 bytes"):
        applier.apply(io.BytesIO(blob), OCI_LAYER_GZIP)


def test_a_pull_has_a_bound_for_bombs_unless_told_otherwise(tmp_path: Path) -> None:
    """LAYER-31"""
    bounds = [
        snapshots.layers(tmp_path).max_layer_size
        for config in (Config(), Config(max_layer_size=5), Config(max_layer_size=0))
        for snapshots in Local(config, tmp_path).snapshotters.values()
    ]
    assert bounds == [64 << 30, 64 << 30, 5, 5, 0, 0]


def test_a_window_larger_than_zstd_takes_is_refused(root: Path) -> None:
    # A frame header that asks for a 2 GiB window: descriptor 0, exponent 21.
    with pytest.raises(LayerError, match="zstd"):
        apply(root, b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]), media_type=OCI_LAYER_GZIP)


class StopError(Exception):
    pass


def test_a_check_that_raises_ends_it_and_its_threads(root: Path) -> None:
    root.mkdir()
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise StopError

    blob = gzip.compress(tar_of(E("big", bytes(30_000_000))))
    threads = threading.active_count()
    with pytest.raises(StopError):
        LayerApplier(root, check=check).apply(io.BytesIO(blob), OCI_LAYER_GZIP)
    assert threading.active_count() == threads


def test_files_and_folders_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        LayerApplier(tmp_path).apply(tmp_path / "gone", OCI_LAYER)
    with pytest.raises(StoreError, match="cannot unpack into"):
        LayerApplier(tmp_path / "gone").apply(io.BytesIO(CONTENT), OCI_LAYER)


def test_a_name_too_long_for_any_file_system_is_one_line(root: Path) -> None:
    with pytest.raises(PullError, match=r"cannot unpack x+: File name too long"):
        apply(root, (E("x" * 300),))


def test_whiteouts_in_each_other_look_at_each_file_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LAYER-32: whichever comes first, the folder or the one around it (GHSA-rp3h-jf77-q9p4)."""
    looked = []
    unlink = Root._unlink

    def counted(self: Root, *arguments: Any) -> int | None:
        looked.append(arguments)
        return unlink(self, *arguments)

    monkeypatch.setattr(Root, "_unlink", counted)
    made = [E("a/" * 30 + f"f{number}") for number in range(50)]
    opaque = [E("a/" * level + ".wh..wh..opq") for level in range(30, 0, -1)]
    whole = [E("a/" * level + ".wh.a") for level in range(29, 0, -1)]
    apply(root, (E("a/" * 20 + "below"),), (*made, *opaque, *reversed(opaque), *whole))
    assert len(tree(root)) == 80
    assert len(looked) < 200


def test_directories_without_end_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAYER-31: their paths are kept in memory, and one entry may stand for two thousand."""
    deep = tuple(E(f"{number}/" + "a/" * 300 + "x") for number in range(3))
    apply(root, deep)
    monkeypatch.setattr(files, "MAX_DIRECTORIES", 200_000)
    with pytest.raises(LayerError, match="more directories than can be remembered"):
        apply(root, deep)
