"""Hostile layers aim at their canary alone, and each has a sound twin; odd trees are sound."""

import io
import re
import tarfile
from pathlib import PurePosixPath
from typing import Any

import pytest

from conformance.golden import golden_tree
from fakeregistry.content import (
    EVIL,
    Directory,
    File,
    Layer,
    RawEntry,
    deep_dirs,
    digest_of,
    evil,
    many_files,
    many_hardlinks,
    many_opaques,
    of_every_kind,
    replacements,
    whiteout_orders,
)
from fakeregistry.content.evil import AFTER
from fakeregistry.content.hostile import climbing

CANARY = "/nowhere/of/a/test/outside"


def texts(layer: Layer) -> list[str]:
    """Every name and target in a layer."""
    found = []
    for entry in layer.entries:
        raw = entry.raw()
        found += [raw.name, raw.linkname]
        found += [value.decode("utf-8", "replace") for value in raw.pax.values()]
        if raw.type == "g":
            assert isinstance(raw.data, bytes)
            found.append(raw.data.decode().partition("=")[2].strip())
    return [text for text in found if text]


@pytest.mark.parametrize("kind", EVIL)
def test_what_leads_out_leads_to_the_canary(kind: str) -> None:
    told = evil(kind, canary=CANARY)

    for layer in told.layers:
        for text in texts(layer):
            climbs = text.startswith("/") or ".." in PurePosixPath(text).parts
            # The one below '/.wh...' has its point in a name; overlay's attribute holds a word.
            if climbs and text != "/canary":
                assert CANARY in text or climbing(CANARY) in text, text
    for layer in told.sound_layers:
        for text in texts(layer):
            assert not text.startswith("/"), text
            assert ".." not in PurePosixPath(text).parts, text


@pytest.mark.parametrize("kind", EVIL)
def test_a_hostile_layer_has_a_sound_twin(kind: str) -> None:
    told = evil(kind, canary=CANARY)

    hostile, sound = told.layers, told.sound_layers

    assert len(hostile) == len(sound) == (2 if told.below else 1)
    assert [layer.digest for layer in hostile] != [layer.digest for layer in sound]
    assert "after" in golden_tree(sound)
    for layer in sound:
        with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
            assert archive.getnames()
    assert re.fullmatch(r"[a-z].*[^.]", told.words)


@pytest.mark.parametrize("kind", EVIL)
def test_a_hostile_layer_can_be_salted(kind: str) -> None:
    told, again = evil(kind, canary=CANARY), evil(kind, canary=CANARY)

    assert told == again
    assert told.layer.salted("a").digest != told.layer.salted("b").digest != told.layer.digest
    assert told.layer.diff_id == digest_of(told.layer.tar)


def test_kinds_that_have_no_name_and_canaries_that_are_no_path() -> None:
    with pytest.raises(KeyError):
        evil("none")
    for canary in ("relative", "/", ""):
        with pytest.raises(ValueError, match="must be an absolute path"):
            evil("dot_dot", canary=canary)
    assert evil("dot_dot", compression="zstd").layer.compression == "zstd"


def header_of(layer: Layer, name: str) -> bytes:
    at = bytes(layer.tar).index(name.encode() + b"\0")
    return bytes(layer.tar)[at : at + 512]


def test_headers_that_lie() -> None:
    size = {kind: header_of(evil(kind).layer, "sized")[124:136] for kind in EVIL if "size" in kind}

    assert size["negative_size"] == b"\xff" * 12
    assert size["huge_size"][0] == 0x80
    assert int.from_bytes(size["huge_size"][1:], "big") == 1 << 62
    assert size["size_field_of_text"] == b"not a number"
    assert size["pax_size_override"] == b"00000002000\0"
    assert header_of(evil("bad_checksum").layer, "summed")[148:156] == b"000001\0 "


def test_archives_that_end_wrongly() -> None:
    cut, endless, more = (
        bytes(evil(kind).layer.tar)
        for kind in ("truncated_tar", "no_end_of_archive", "entry_after_end")
    )

    with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(cut)) as archive:
        archive.getmembers()
    assert endless[-1024:] != bytes(1024)
    assert AFTER.name.encode() in endless[-1024:]
    assert b"hidden" in more
    with tarfile.open(fileobj=io.BytesIO(more)) as archive:
        assert archive.getnames() == ["seen", "after"]


# Trees


def test_a_deep_tree_is_as_deep_as_it_says() -> None:
    tree = golden_tree([deep_dirs(300)])

    assert len(tree) == 301
    assert max(tree, key=len).count("/") == 300


def test_many_names_are_one_file() -> None:
    tree = golden_tree([many_hardlinks(500)])

    assert sum(node.same_as == "links/000000" for node in tree.values()) == 501


def test_many_opaques_hide_once_what_is_below() -> None:
    below = Layer((Directory("opaque"), File("opaque/below", "x\n")))
    tree = golden_tree([below, many_opaques(20)])
    assert set(tree) == {"opaque", *(f"opaque/{number:06}" for number in range(20))}


def test_many_files_are_many() -> None:
    tree = golden_tree([many_files(1000)])

    assert sum(node.type == "file" for node in tree.values()) == 1000
    assert tree["files/0003/000999"].preview == b"999\n"


def test_every_kind_of_member_is_there() -> None:
    tree = golden_tree([of_every_kind()])

    assert {node.type for node in tree.values()} == {
        "file",
        "dir",
        "symlink",
        "fifo",
        "char",
        "block",
    }
    with tarfile.open(fileobj=io.BytesIO(of_every_kind().tar)) as archive:
        assert len(archive.getnames()) == len(of_every_kind().entries)


def test_each_kind_takes_the_place_of_each_other() -> None:
    below, above = replacements()
    tree = golden_tree((below, above))

    for name, node in tree.items():
        if "-to-" in name and "/" not in name and not name.startswith("of-"):
            wanted = {"directory": "dir", "hardlink": "file"}
            kind = name.partition("-to-")[2]
            assert node.type == wanted.get(kind, kind)
    assert tree["target"].preview == b"kept\n"


EXPECTED: dict[str, tuple[set[str], set[str]]] = {
    "whiteout_first": ({"d/own", "d/kept"}, set()),
    "whiteout_last": ({"d/own", "d/gone", "d/kept"}, set()),
    "whiteout_without_parents": ({"d/kept"}, {"d/gone"}),
    "opaque_middle": ({"d/own", "d/gone"}, {"d/kept", "d/sub"}),
    "opaque_without_parents": ({"d"}, {"d/kept", "d/sub", "d/gone"}),
    "whiteout_of_tree_and_file": ({"d/kept"}, {"tree"}),
    "opaque_in_opaque": ({"d/sub/above"}, {"d/sub/below", "d/kept"}),
    "opaque_of_root": ({"alone"}, {"d", "tree"}),
    "whiteout_then_directory": ({"d/gone/inside"}, set()),
}


@pytest.mark.parametrize("name", whiteout_orders())
def test_whiteouts_hide_what_is_below_wherever_they_stand(name: str) -> None:
    tree = golden_tree(whiteout_orders()[name])

    there, absent = EXPECTED.get(name, (set(), set()))
    assert there <= tree.keys()
    assert not absent & tree.keys()
    assert not any(".wh." in path for path in tree)


def test_odd_trees_are_the_same_every_time() -> None:
    makers: list[Any] = [lambda: deep_dirs(50), lambda: many_hardlinks(50), of_every_kind]
    makers += [lambda: replacements()[1], lambda: many_files(50)]
    for make in makers:
        assert make() == make()
        assert make().digest == make().digest


def test_a_raw_size_field_is_written_as_it_is() -> None:
    tar = Layer((RawEntry("f", size_field=b"\x80" + bytes(11)), Directory("d"), File("g"))).tar

    assert bytes(tar[124:136]) == b"\x80" + bytes(11)
