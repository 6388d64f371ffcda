"""Layers by what is in their trees: deep, wide, replaced, whited out; all of them sound."""

from collections.abc import Sequence
from itertools import permutations

from .entries import (
    Device,
    Directory,
    Entry,
    Fifo,
    File,
    Hardlink,
    OpaqueWhiteout,
    Symlink,
    Whiteout,
)
from .layers import Layer


def deep_dirs(depth: int, *, name: str = "d") -> Layer:
    """``depth`` directories, each in the one before, and a file at the bottom.

    Unpacking takes work in proportion to the depth, not to its square. The longest path a Linux
    program can name at once has 4095 bytes: beyond some 2000 directories a puller has to walk.
    """
    folders = [Directory("/".join([name] * level)) for level in range(1, depth + 1)]
    return Layer((*folders, File("/".join([name] * depth + ["bottom"]), "here\n")))


def many_hardlinks(count: int, *, folder: str = "links") -> Layer:
    """One file and ``count`` hard links to it, in one folder."""
    links = [Hardlink(f"{folder}/{number:06}", f"{folder}/file") for number in range(count)]
    return Layer((Directory(folder), File(f"{folder}/file", "one of many names\n"), *links))


def many_files(count: int, *, folder: str = "files", each: int = 256) -> Layer:
    """``count`` small files, ``each`` of them in a folder of its own."""
    entries: list[Entry] = [Directory(folder)]
    for number in range(count):
        within = f"{folder}/{number // each:04}"
        if number % each == 0:
            entries.append(Directory(within))
        entries.append(File(f"{within}/{number:06}", f"{number}\n"))
    return Layer(tuple(entries))


def many_opaques(count: int, *, folder: str = "opaque") -> Layer:
    """``count`` files in one folder, and then ``count`` times that it hides what is below it.

    Each marker says the same: a puller that looks through the folder for each does work in
    proportion to the square.
    """
    files = [File(f"{folder}/{number:06}", f"{number}\n") for number in range(count)]
    return Layer((Directory(folder), *files, *([OpaqueWhiteout(folder)] * count)))


def of_every_kind() -> Layer:
    """Every kind of member, with owners, modes, times and attributes that are easily lost."""
    deep = "/".join(f"part-{number}" for number in range(20))
    return Layer(
        (
            Directory("kinds", mode=0o1777, uid=5, gid=6, mtime=7),
            File("kinds/file", "text\n", mode=0o640, uid=1000, gid=2000, mtime=1_234_567_890),
            File("kinds/setuid", "x\n", mode=0o4755),
            File("kinds/setgid", "x\n", mode=0o2755),
            File("kinds/unreadable", "x\n", mode=0o000),
            File("kinds/empty"),
            # None that is empty: to a pax reader that would mean 'no such record' (POSIX, pax).
            File("kinds/attributes", "x\n", xattrs={"user.key": b"\x00\xff"}),
            File("kinds/large-owner", "x\n", uid=3_000_000, gid=4_000_000),
            File("kinds/grün", "x\n"),
            File("kinds/" + "n" * 200, "x\n"),
            File(f"{deep}/file", "x\n"),
            Symlink("kinds/link", "file"),
            Symlink("kinds/dangling", "/nowhere"),
            Hardlink("kinds/hard", "kinds/file", mode=0o640, uid=1000, gid=2000),
            Fifo("kinds/fifo", mode=0o600),
            Device("kinds/null", "char", 1, 3, mode=0o666),
            Device("kinds/loop", "block", 7, 0),
        )
    )


def replacements() -> tuple[Layer, Layer]:
    """Two layers: in the second each of file, directory and link takes the place of each other."""
    below: list[Entry] = []
    above: list[Entry] = []
    for old, new in permutations(_KINDS, 2):
        name = f"{old}-to-{new}"
        below += _of_kind(old, name, "below")
        above += _of_kind(new, name, "above")
    return Layer((File("target", "kept\n"), *below)), Layer(tuple(above))


_KINDS = ("file", "directory", "symlink", "hardlink", "fifo")


def _of_kind(kind: str, name: str, layer: str) -> list[Entry]:
    if kind == "directory":
        return [Directory(name), File(f"{name}/{layer}", f"{layer}\n")]
    made: dict[str, list[Entry]] = {
        "file": [File(name, f"{layer}\n")],
        "symlink": [Symlink(name, "target")],
        "hardlink": [
            File(f"of-{layer}-{name}", f"{layer}\n"),
            Hardlink(name, f"of-{layer}-{name}"),
        ],
        "fifo": [Fifo(name)],
    }
    return made[kind]


def whiteout_orders() -> dict[str, tuple[Layer, Layer]]:
    """Two layers by name, in which whiteouts stand first, in the middle and last.

    image-spec, ``layer.md``: a whiteout hides what lower layers have, whatever its place. Some
    writers put it before its folder's entry, some name no parents at all.
    """
    below = Layer(
        (
            Directory("d"),
            File("d/gone", "below\n"),
            File("d/kept", "below\n"),
            Directory("d/sub"),
            File("d/sub/below", "below\n"),
            Directory("tree"),
            File("tree/deep/inside", "below\n"),
        )
    )
    own: list[Entry] = [Directory("d"), File("d/own", "above\n"), File("d/gone", "above\n")]
    made: dict[str, Sequence[Entry]] = {}
    for what, mark in (("whiteout", Whiteout("d/gone")), ("opaque", OpaqueWhiteout("d"))):
        for where, at in (("first", 0), ("middle", 2), ("last", len(own))):
            made[f"{what}_{where}"] = [*own[:at], mark, *own[at:]]
        made[f"{what}_without_parents"] = [mark]
        made[f"{what}_twice"] = [mark, *own, mark]
    made["whiteout_of_tree_and_file"] = [Whiteout("tree/deep/inside"), Whiteout("tree")]
    made["whiteout_of_nothing"] = [Whiteout("d/nothing"), Whiteout("nowhere/at/all")]
    made["opaque_of_new_folder"] = [Directory("new"), OpaqueWhiteout("new"), File("new/f", "x\n")]
    made["opaque_in_opaque"] = [
        OpaqueWhiteout("d/sub"),
        OpaqueWhiteout("d"),
        File("d/sub/above", "above\n"),
    ]
    made["opaque_of_root"] = [OpaqueWhiteout(""), File("alone", "x\n")]
    made["folder_made_anew"] = [Whiteout("tree"), Directory("tree"), File("tree/new", "above\n")]
    made["whiteout_then_directory"] = [
        Whiteout("d/gone"),
        Directory("d/gone"),
        File("d/gone/inside", "above\n"),
    ]
    return {name: (below, Layer(tuple(entries))) for name, entries in made.items()}
