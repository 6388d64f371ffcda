"""The golden tree by the rules of image-spec's layer.md, one rule a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.golden import NotGolden, golden_tree
from conformance.tree import Node, Powers, differences, tree_of
from fakeregistry import (
    Device,
    Directory,
    File,
    Hardlink,
    OpaqueWhiteout,
    RawEntry,
    Symlink,
    Whiteout,
    an_image,
)


def paths(*layers: list[object]) -> set[str]:
    return set(golden_tree(layers))


def test_later_layers_win() -> None:
    tree = golden_tree([[File("a", "one")], [File("a", "two", mode=0o600)]])
    assert tree["a"].size == 3
    assert tree["a"].preview == b"two"
    assert tree["a"].mode == 0o600


def test_whiteout_removes_what_is_below_it() -> None:
    lower = [Directory("d"), File("d/a"), File("d/b"), Directory("d/e"), File("d/e/f")]
    assert paths(lower, [Whiteout("d/a"), Whiteout("d/e")]) == {"d", "d/b"}
    assert paths(lower, [Whiteout("nothing")]) == {"d", "d/a", "d/b", "d/e", "d/e/f"}


@pytest.mark.parametrize("first", ["whiteout", "file"])
def test_whiteout_spares_its_own_layer(first: str) -> None:
    layer: list[object] = [Whiteout("a"), File("a", "new")]
    if first == "file":
        layer.reverse()
    assert golden_tree([[File("a", "old")], layer])["a"].preview == b"new"


@pytest.mark.parametrize("last", [True, False])
def test_opaque_hides_lower_children_wherever_it_stands(last: bool) -> None:
    layer: list[object] = [OpaqueWhiteout("d"), File("d/new")]
    if last:
        layer.reverse()
    assert paths([Directory("d"), File("d/old")], layer) == {"d", "d/new"}


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.."])
def test_whiteouts_of_nothing_hide_nothing(name: str) -> None:
    assert paths([Directory("d"), File("d/a")], [RawEntry(name)]) == {"d", "d/a"}


def test_aufs_names_are_not_visible() -> None:
    assert paths([File("a"), RawEntry(".wh..wh.plnk/x"), RawEntry(".wh..wh.aufs")]) == {"a"}


def test_file_over_directory_and_back() -> None:
    lower = [Directory("d"), File("d/a")]
    assert golden_tree([lower, [File("d", "x")]])["d"].type == "file"
    assert paths([File("d")], lower) == {"d", "d/a"}


def test_directory_over_directory_only_changes_attributes() -> None:
    tree = golden_tree([[Directory("d", mode=0o700), File("d/a")], [Directory("d", mode=0o755)]])
    assert tree["d"].mode == 0o755
    assert "d/a" in tree


def test_directory_over_symlink_does_not_follow() -> None:
    tree = golden_tree([[Directory("real"), Symlink("d", "real")], [Directory("d"), File("d/a")]])
    assert tree["d"].type == "dir"
    assert "d/a" in tree
    assert "real/a" not in tree


def test_parents_that_are_links_are_followed_inside_the_root() -> None:
    lower = [
        Directory("usr"),
        Directory("usr/lib"),
        Symlink("lib", "/usr/lib"),
        Symlink("up", ".."),
    ]
    tree = golden_tree([lower, [File("lib/a"), File("up/b")]])
    assert {"usr/lib/a", "b"} <= tree.keys()


def test_names_are_bounded_to_the_root() -> None:
    assert paths([File("../../x"), File("/y"), File("./z"), Directory("./")]) == {"x", "y", "z"}


def test_missing_parents_are_implied() -> None:
    tree = golden_tree([[File("a/b/c")]])
    assert tree["a"].implied
    assert tree["a/b"].implied


def test_hard_links_are_one_file() -> None:
    tree = golden_tree([[File("b", "x"), Hardlink("a", "b"), Hardlink("c", "a")]])
    assert {tree[name].same_as for name in "abc"} == {"a"}
    assert tree["c"].sha256 == tree["b"].sha256


def test_a_replaced_hard_link_is_alone_again() -> None:
    tree = golden_tree([[File("a", "x"), Hardlink("b", "a")], [File("b", "y")]])
    assert tree["a"].same_as is None
    assert tree["b"].same_as is None


def test_directories_that_changed_have_any_time() -> None:
    lower = [Directory("d", mtime=5), File("d/a", mtime=5), Directory("e", mtime=5)]
    tree = golden_tree([lower, [File("d/b", mtime=9)]])
    assert tree["d"].mtime is None
    assert tree["e"].mtime == 5
    assert golden_tree([lower, [Directory("d", mtime=7), File("d/b")]])["d"].mtime == 7


@pytest.mark.parametrize("entry", [Whiteout("d/none"), File("d/new/file")])
def test_a_change_without_a_trace_is_one_too(entry: object) -> None:
    assert golden_tree([[Directory("d", mtime=5)]])["d"].mtime == 5
    assert golden_tree([[Directory("d", mtime=5)], [entry]])["d"].mtime is None


def test_layers_without_declared_tree() -> None:
    with pytest.raises(NotGolden):
        golden_tree([[RawEntry("x", "g")]])
    with pytest.raises(NotGolden):
        golden_tree([[Hardlink("a", "missing")]])


def test_an_image_of_the_registry_has_a_tree() -> None:
    tree = golden_tree(an_image(2, salt="s").layers)
    assert tree["bin/sh"] == Node("symlink", uid=0, gid=0, linkname="tool", mtime=1_700_000_000)
    assert tree["tmp"].mode == 0o1777
    assert tree["app/version"].preview == b"1\n"


def test_reading_a_tree_and_comparing(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o755)
    (tmp_path / "d" / "a").write_text("hello")
    (tmp_path / "d" / "a").chmod(0o644)
    os.utime(tmp_path / "d" / "a", (7, 7))
    os.link(tmp_path / "d" / "a", tmp_path / "b")
    (tmp_path / "l").symlink_to("d/a")
    golden = golden_tree(
        [[File("d/a", "hello", mtime=7), Hardlink("b", "d/a"), Symlink("l", "d/a")]]
    )
    weak = Powers(owners=False, devices=False, times=True)
    found = tree_of(tmp_path)
    # A link's own time is now: only the file's is compared here.
    golden["l"] = Node("symlink", linkname="d/a")
    assert differences(golden, found, weak) == []

    (tmp_path / "d" / "a").write_text("hellO")
    (tmp_path / "extra").mkdir()
    (tmp_path / "l").unlink()
    lines = differences(golden, tree_of(tmp_path), weak)
    assert [line.split(":")[0] for line in lines] == ["b", "b", "d/a", "d/a", "extra", "l"]
    assert "holds 5 bytes 'hellO', expected 5 bytes 'hello'" in lines[0]
    assert "has mtime" in lines[1]
    assert lines[-2:] == ["extra: a dir that should not be there", "l: missing, expected a symlink"]


def test_a_name_that_is_listed_and_denied_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an overlay shows whiteouts in a directory that it doesn't merge with a lower one."""
    for name in ("here", "denied"):
        (tmp_path / name).touch()
    listing = os.scandir

    @contextmanager
    def overlay(path: Path) -> Iterator[list[os.DirEntry[str]]]:
        with listing(path) as entries:
            found = list(entries)
        (tmp_path / "denied").unlink()
        yield found

    monkeypatch.setattr(os, "scandir", overlay)

    assert list(tree_of(tmp_path)) == ["here"]


def test_what_needs_root_is_not_asked_of_others() -> None:
    golden = golden_tree([[Device("null"), File("a", uid=7)]])
    mine = golden_tree([[File("a", uid=1000)]])
    assert differences(golden, mine, Powers(owners=False, devices=False)) == []
    assert differences(golden, mine) == [
        "a: belongs to 1000:0, expected 7:0",
        "null: missing, expected a char",
    ]


def test_xattrs_are_compared() -> None:
    golden = golden_tree([[File("a", xattrs={"user.x": b"1"})]])
    assert differences(golden, golden_tree([[File("a")]])) == [
        "a: has xattr user.x = None, expected b'1'"
    ]
    assert differences(golden_tree([[File("a")]]), golden) == [
        "a: has xattr user.x, expected none of that name"
    ]
