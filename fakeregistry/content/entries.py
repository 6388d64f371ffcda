"""What a layer's tar holds, said declaratively: files, links, whiteouts, and hostile things.

An entry knows nothing of bytes: ``tar.py`` writes it. Names are written as they are given
(no cleaning, no stripping), because a name such as ``../../x`` or ``/etc/x`` is often the point.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import split
from typing import Literal

from .data import Data

REGULAR, HARD, SYMBOLIC, CHAR, BLOCK, DIRECTORY, FIFO = "0", "1", "2", "3", "4", "5", "6"


@dataclass(frozen=True)
class RawEntry:
    """One tar member, field by field; every other entry comes down to this one.

    ``type`` is the type flag (one character, ``"0"`` a regular file). ``pax`` holds extended
    header records for this member; ``size`` overrides the length that the header declares, so
    that a header can lie about its data; ``checksum`` overrides the header's checksum. A raw
    ``size_field`` (12 bytes) stands in the header as it is, whatever number it may be.
    """

    name: str
    type: str = REGULAR
    linkname: str = ""
    data: Data = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    uname: str = ""
    gname: str = ""
    major: int = 0
    minor: int = 0
    pax: Mapping[str, bytes] = field(default_factory=dict, hash=False)
    size: int | None = None
    checksum: int | None = None
    size_field: bytes | None = None

    def raw(self) -> "RawEntry":
        """This member itself."""
        return self


@dataclass(frozen=True)
class File:
    """A regular file. ``data`` given as text is written in UTF-8."""

    name: str
    data: Data | str = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict, hash=False)

    @property
    def content(self) -> Data:
        """The file's bytes."""
        return self.data.encode() if isinstance(self.data, str) else self.data

    def raw(self) -> RawEntry:
        """As a tar member."""
        return RawEntry(
            self.name,
            REGULAR,
            data=self.content,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime=self.mtime,
            pax=_xattr_records(self.xattrs),
        )


@dataclass(frozen=True)
class Directory:
    """A directory; the slash that ends its name in the tar is added here."""

    name: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict, hash=False)

    def raw(self) -> RawEntry:
        """As a tar member."""
        return RawEntry(
            self.name if self.name.endswith("/") else self.name + "/",
            DIRECTORY,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime=self.mtime,
            pax=_xattr_records(self.xattrs),
        )


@dataclass(frozen=True)
class Symlink:
    """A symbolic link at ``name`` that says ``target``."""

    name: str
    target: str
    uid: int = 0
    gid: int = 0
    mtime: int = 0

    def raw(self) -> RawEntry:
        """As a tar member."""
        return RawEntry(
            self.name,
            SYMBOLIC,
            self.target,
            mode=0o777,
            uid=self.uid,
            gid=self.gid,
            mtime=self.mtime,
        )


@dataclass(frozen=True)
class Hardlink:
    """A hard link at ``name`` to the member called ``target`` (a path from the root)."""

    name: str
    target: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0

    def raw(self) -> RawEntry:
        """As a tar member."""
        return RawEntry(
            self.name,
            HARD,
            self.target,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime=self.mtime,
        )


@dataclass(frozen=True)
class Whiteout:
    """Removes ``name`` of the lower layers: an empty file ``.wh.<base>`` beside it."""

    name: str

    def raw(self) -> RawEntry:
        """As a tar member."""
        directory, base = split(self.name.rstrip("/"))
        return RawEntry(f"{directory}/.wh.{base}" if directory else f".wh.{base}")


@dataclass(frozen=True)
class OpaqueWhiteout:
    """Hides all that lower layers have in ``directory``: a file ``.wh..wh..opq`` inside it."""

    directory: str

    def raw(self) -> RawEntry:
        """As a tar member."""
        directory = self.directory.rstrip("/")
        return RawEntry(f"{directory}/.wh..wh..opq" if directory else ".wh..wh..opq")


@dataclass(frozen=True)
class Fifo:
    """A named pipe."""

    name: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0

    def raw(self) -> RawEntry:
        """As a tar member."""
        return RawEntry(
            self.name, FIFO, mode=self.mode, uid=self.uid, gid=self.gid, mtime=self.mtime
        )


@dataclass(frozen=True)
class Device:
    """A character or block device node."""

    name: str
    kind: Literal["char", "block"] = "char"
    major: int = 1
    minor: int = 3
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    mtime: int = 0

    def raw(self) -> RawEntry:
        """As a tar member."""
        return RawEntry(
            self.name,
            CHAR if self.kind == "char" else BLOCK,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime=self.mtime,
            major=self.major,
            minor=self.minor,
        )


Entry = File | Directory | Symlink | Hardlink | Whiteout | OpaqueWhiteout | Fifo | Device | RawEntry


def _xattr_records(xattrs: Mapping[str, bytes]) -> Mapping[str, bytes]:
    # SCHILY.xattr is the record that every image tool reads (image-spec, layer.md).
    return {f"SCHILY.xattr.{name}": value for name, value in xattrs.items()}
