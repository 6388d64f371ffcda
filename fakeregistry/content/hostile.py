"""The kinds of hostile layers: the entries of each, and those of its sound twin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .entries import (
    Device,
    Directory,
    Entry,
    File,
    Hardlink,
    OpaqueWhiteout,
    RawEntry,
    Symlink,
    Whiteout,
)
from .tar import pax_records, tar_bytes

_LEVELS = 32
"""More folders than any root lies deep: further ``..`` stay at the file system's root."""


def climbing(path: str) -> str:
    """``path`` by a name that first climbs out of whatever root it is in."""
    return "../" * _LEVELS + path.lstrip("/")


@dataclass(frozen=True)
class Told:
    """What a kind is, in words ('in this world, …') and in entries; `fields` are a layer's."""

    words: str
    entries: Sequence[Entry]
    sound: Sequence[Entry]
    below: tuple[Entry, ...] = ()
    sound_below: tuple[Entry, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


_Maker = Callable[[str], Told]

EVIL: dict[str, _Maker] = {}
"""Every kind by its name; what is called with the canary's path tells it."""


def _kind(make: _Maker) -> _Maker:
    EVIL[make.__name__.lstrip("_")] = make
    return make


def _escaped(name: str) -> File:
    return File(name, "escaped\n")


# Names that lead out


@_kind
def _absolute_path(canary: str) -> Told:
    return Told(
        "a file's name is absolute",
        [_escaped(f"{canary}/absolute")],
        [_escaped("canary/absolute")],
    )


@_kind
def _dot_dot(canary: str) -> Told:
    return Told(
        "a file's name climbs out of the root",
        [_escaped(climbing(f"{canary}/dot-dot"))],
        [_escaped("canary/dot-dot")],
    )


@_kind
def _dot_dot_inside(canary: str) -> Told:
    return Told(
        "a file's name goes into a folder and climbs out of the root from there",
        [Directory("a"), Directory("a/b"), _escaped(f"a/b/../../{climbing(canary)}/inside")],
        [Directory("a"), Directory("a/b"), _escaped("canary/inside")],
    )


@_kind
def _dot_dot_directory(canary: str) -> Told:
    return Told(
        "a directory's name climbs out of the root",
        [Directory(climbing(f"{canary}/made"), mode=0o777)],
        [Directory("canary/made", mode=0o777)],
    )


# Symbolic links that lead out


@_kind
def _symlink_escape(canary: str) -> Told:
    return _through_link("a file lies behind a symbolic link to an absolute folder", canary)


@_kind
def _climbing_symlink(canary: str) -> Told:
    return _through_link(
        "a file lies behind a symbolic link that climbs out of the root", climbing(canary)
    )


def _through_link(words: str, target: str) -> Told:
    return Told(
        words,
        [Symlink("link", target), _escaped("link/through")],
        [Directory("link"), _escaped("link/through")],
    )


@_kind
def _symlink_chain(canary: str) -> Told:
    return Told(
        "a file lies behind a link to a link that climbs out of the root",
        [
            Directory("d"),
            Symlink("d/first", climbing(canary)),
            Symlink("second", "d/first"),
            _escaped("second/chained"),
        ],
        [
            Directory("d"),
            Directory("d/first"),
            Symlink("second", "d/first"),
            _escaped("second/chained"),
        ],
    )


@_kind
def _symlink_in_lower_layer(canary: str) -> Told:
    return Told(
        "a file lies behind a link of the layer below that leads out",
        [_escaped("link/lower")],
        [_escaped("link/lower")],
        (Symlink("link", canary),),
        (Directory("link"),),
    )


@_kind
def _swap_dir_for_symlink(canary: str) -> Told:
    return Told(
        "a directory is replaced by a link that leads out, and another file follows",
        [
            Directory("d"),
            File("d/inside", "x\n"),
            Symlink("d", canary),
            _escaped("d/swapped"),
        ],
        [Directory("d"), File("d/inside", "x\n"), Directory("d"), _escaped("d/swapped")],
    )


@_kind
def _symlink_overwrite(canary: str) -> Told:
    return Told(
        "a symbolic link to a file outside is followed by a file of its own name",
        [Symlink("file", f"{canary}/overwritten"), _escaped("file")],
        [File("file", "first\n"), _escaped("file")],
    )


# Hard links that lead out


@_kind
def _hardlink_escape(canary: str) -> Told:
    return Told(
        "a hard link's target climbs out of the root",
        [File("there", "x\n"), Hardlink("link", climbing(f"{canary}/canary"))],
        [File("there", "x\n"), Hardlink("link", "there")],
    )


@_kind
def _hardlink_through_symlink(canary: str) -> Told:
    return Told(
        "a hard link's target lies behind a symbolic link that leads out",
        [File("d/canary", "x\n"), Symlink("link", canary), Hardlink("stolen", "link/canary")],
        [File("d/canary", "x\n"), Symlink("link", "d"), Hardlink("stolen", "d/canary")],
    )


@_kind
def _hardlink_to_symlink_chmod(canary: str) -> Told:
    return Told(
        "a hard link to a symbolic link that leads out sets another mode (CVE-2021-32760)",
        [
            Symlink("link", f"{canary}/canary"),
            Hardlink("hard", "link", mode=0o777),
        ],
        [File("link", "x\n", mode=0o777), Hardlink("hard", "link", mode=0o777)],
    )


@_kind
def _hardlink_to_itself(_canary: str) -> Told:
    return Told(
        "a hard link is its own target",
        [Hardlink("self", "self")],
        [File("self", "x\n")],
    )


# Whiteouts that lead out


@_kind
def _whiteout_of_parent(_canary: str) -> Told:
    return Told(
        "a whiteout names its folder's parent",
        [RawEntry("d/.wh...")],
        [Whiteout("d/none")],
        (File("kept", "x\n"), Directory("d"), File("d/kept", "x\n")),
        (File("kept", "x\n"), Directory("d"), File("d/kept", "x\n")),
    )


@_kind
def _whiteout_through_symlink(canary: str) -> Told:
    return Told(
        "a whiteout lies behind a symbolic link that leads out",
        [Whiteout("link/canary")],
        [Whiteout("link/canary")],
        (Symlink("link", canary),),
        (Directory("link"), File("link/canary", "x\n")),
    )


@_kind
def _opaque_through_symlink(canary: str) -> Told:
    return Told(
        "an opaque whiteout lies behind a symbolic link that leads out",
        [OpaqueWhiteout("link")],
        [OpaqueWhiteout("link")],
        (Symlink("link", canary),),
        (Directory("link"), File("link/canary", "x\n")),
    )


# Devices, modes, attributes


@_kind
def _device(_canary: str) -> Told:
    return Told(
        "a device node is open to everybody",
        # The harmless one that is always full: whoever makes it has made a device all the same.
        [Device("full", "char", 1, 7, mode=0o666)],
        [File("full", "x\n", mode=0o666)],
    )


@_kind
def _setuid(_canary: str) -> Told:
    return Told(
        "a program is setuid and setgid, and its folder writable by all",
        [Directory("open", mode=0o777), File("open/root", "#!/bin/sh\n", mode=0o6777)],
        [Directory("open", mode=0o755), File("open/root", "#!/bin/sh\n", mode=0o755)],
    )


@_kind
def _special_xattrs(_canary: str) -> Told:
    grave = {
        "trusted.overlay.opaque": b"y",
        "trusted.overlay.redirect": b"/canary",
        "user.overlay.opaque": b"y",
        "security.selinux": b"system_u:object_r:bin_t:s0\0",
    }
    return Told(
        "a folder has the attributes by which an overlay file system speaks to itself",
        [Directory("d", xattrs=grave), File("d/file", "x\n")],
        [Directory("d", xattrs={"user.note": b"y"}), File("d/file", "x\n")],
    )


# Archives that are not what they say


@_kind
def _long_names(_canary: str) -> Told:
    return Told(
        "a name is longer than any file system takes",
        [File("n" * 300, "x\n"), File("/".join(["p" * 200] * 30), "x\n")],
        [File("n" * 200, "x\n"), File("/".join(["p" * 200] * 5), "x\n")],
    )


@_kind
def _name_with_newline(_canary: str) -> Told:
    return Told(
        "names hold a line break, an escape sequence and bytes that are no text",
        [File("a\nb", "x\n"), File("\x1b[2J", "x\n"), File("\udcff\udcfe", "x\n")],
        [File("ab", "x\n"), File("grün", "x\n")],
    )


@_kind
def _duplicate_entries(_canary: str) -> Told:
    return Told(
        "a name stands for a file, a directory and a link, one after the other",
        [
            File("twice", "first\n"),
            Directory("twice"),
            File("twice/inside", "x\n"),
            Symlink("twice", "after"),
            File("twice", "last\n"),
        ],
        [File("twice", "last\n")],
    )


@_kind
def _negative_size(_canary: str) -> Told:
    return _sized("a file's size is negative", RawEntry("sized", data=b"x\n", size=-1))


@_kind
def _huge_size(_canary: str) -> Told:
    # In the header itself, in base 256: no pax record has to be read to meet it.
    field = b"\x80" + (1 << 62).to_bytes(11, "big")
    return _sized("a file's size is 2**62 bytes", RawEntry("sized", data=b"x\n", size_field=field))


@_kind
def _size_field_of_text(_canary: str) -> Told:
    entry = RawEntry("sized", data=b"x\n", size_field=b"not a number")
    return _sized("the field of a file's size is no number", entry)


@_kind
def _pax_size_override(_canary: str) -> Told:
    # The header says 1024 bytes and the record 2: a reader that believes the header takes the
    # next header for content, and so does not see it.
    entry = RawEntry("sized", data=b"x\n", size=1024, pax={"size": b"2"})
    return _sized("a pax record overrides the size that the header says", entry)


def _sized(words: str, entry: RawEntry) -> Told:
    return Told(words, [entry], [File("sized", "x\n")])


@_kind
def _bad_checksum(_canary: str) -> Told:
    return Told(
        "a header's checksum is wrong",
        [RawEntry("summed", data=b"x\n", checksum=1)],
        [File("summed", "x\n")],
    )


@_kind
def _truncated_tar(_canary: str) -> Told:
    entries = [File("whole", "x\n"), File("cut", bytes(2048))]
    return Told("the archive ends in a file", entries, entries, fields={"tar_cut": -3072})


@_kind
def _no_end_of_archive(_canary: str) -> Told:
    entries = [File("whole", "x\n")]
    return Told("the archive has no closing blocks", entries, entries, fields={"tar_cut": -1024})


@_kind
def _entry_after_end(_canary: str) -> Told:
    more = tar_bytes([_escaped("hidden")])
    return Told(
        "an entry follows the archive's end",
        [File("seen", "x\n")],
        [File("seen", "x\n")],
        fields={"tar_trailing": more},
    )


@_kind
def _global_header(canary: str) -> Told:
    # Some readers apply a global path to every member that follows.
    records = pax_records({"path": f"{canary}/global".encode()})
    return Told(
        "a global pax header gives a path for all that follows",
        [RawEntry("././@PaxHeader", "g", data=records), File("seen", "x\n")],
        [File("seen", "x\n")],
    )
