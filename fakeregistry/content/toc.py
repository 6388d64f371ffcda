"""Tables of contents: what eStargz and zstd:chunked say of each file beside the tar.

Both inherit their form from CRFS' stargz: a JSON document with an entry for each member, and the
offsets in the blob where its content can be fetched and undone alone. Sources: stargz-snapshotter's
``docs/estargz.md``, and ``pkg/chunked/internal/minimal`` of containers/storage.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from .data import Buffer, Data
from .descriptors import Document, digest_of
from .entries import Entry
from .tar import Member

TocLie = Literal["mode", "digest", "name", "checksum", "position"]
"""A table that says what the bytes don't.

``mode``: the largest file is setuid and writable by all. ``digest``: that file has another
content. ``name``: it has another name. In these the table's own digest is right. ``checksum``:
the table's digest is another's. ``position``: the table is elsewhere.
"""
TOC_LIES: tuple[TocLie, ...] = ("mode", "digest", "name", "checksum", "position")

_TYPES = {
    "0": "reg",
    "\0": "reg",
    "7": "reg",
    "1": "hardlink",
    "2": "symlink",
    "3": "char",
    "4": "block",
    "5": "dir",
    "6": "fifo",
}


@dataclass(frozen=True)
class Packed:
    """A layer in its compressed form.

    ``parts`` are the archive that comes out of it, ``added`` the entries that this form put into
    the archive, ``annotations`` what the descriptor has to say of it.
    """

    blob: Buffer = field(repr=False)
    parts: Sequence[Data] = field(repr=False)
    annotations: dict[str, str] = field(default_factory=dict)
    added: tuple[Entry, ...] = ()


def has_content(member: Member) -> bool:
    """Whether a member is a file whose content a table points at."""
    return _TYPES.get(member.entry.type) == "reg" and len(member.data) > 0


def toc_entry(member: Member) -> Document:
    """What both forms say of a member in the same words.

    Raises ``ValueError`` for a member that no table can hold.
    """
    entry = member.entry
    kind = _TYPES.get(entry.type)
    if kind is None:
        raise ValueError(f"a table of contents can't hold {entry.name!r} of type {entry.type!r}")
    described: Document = {"name": entry.name, "type": kind}
    if kind == "reg" and len(member.data):
        described["size"] = len(member.data)
    if kind in ("hardlink", "symlink"):
        described["linkName"] = entry.linkname
    described |= {"mode": entry.mode & 0o7777, "uid": entry.uid, "gid": entry.gid}
    if kind in ("char", "block"):
        described |= {"devMajor": entry.major, "devMinor": entry.minor}
    described["modtime"] = datetime.fromtimestamp(entry.mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    prefix = "SCHILY.xattr."
    xattrs = {
        key.removeprefix(prefix): base64.b64encode(value).decode()
        for key, value in entry.pax.items()
        if key.startswith(prefix)
    }
    return described | ({"xattrs": xattrs} if xattrs else {})


def toc_bytes(entries: Iterable[Document], lie: TocLie | None, **more: object) -> bytes:
    """The document of a table, with the lie about its largest file."""
    listed = [dict(entry) for entry in entries]
    files = [entry for entry in listed if "digest" in entry]
    if files:
        file = max(files, key=lambda entry: int(entry["size"]))
        if lie == "mode":
            file["mode"] = 0o4777
        elif lie == "name":
            file["name"] += ".forged"
        elif lie == "digest":
            file["digest"] = digest_of(b"forged " + str(file["digest"]).encode())
            if "chunkDigest" in file:
                file["chunkDigest"] = file["digest"]
    return json.dumps({"version": 1, "entries": listed, **more}).encode()


def named_digest(document: bytes, lie: TocLie | None) -> str:
    """The digest by which the descriptor names a table."""
    return digest_of(b"other than " + document if lie == "checksum" else document)
