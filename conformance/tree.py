"""File trees as values: what a rootfs holds, and how two of them differ.

A `Tree` maps paths (relative, ``/`` between names, without a leading one) to `Node`. The root
itself isn't in it. A member of a node that is None is unknown or isn't to be compared, so that a
golden tree can say 'any time will do'.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Node", "NodeType", "Powers", "Tree", "differences", "powers_here", "tree_of"]

NodeType = Literal["file", "dir", "symlink", "fifo", "char", "block", "socket"]
_CHUNK = 1 << 20
_SHOWN = 64
"""How much of a small file's content is kept, to show it in a difference."""


@dataclass(frozen=True)
class Node:
    """One path of a tree.

    Attributes:
        mode: permission bits with set-id and sticky bits; never compared for symbolic links.
        size: length of a file's content, in bytes.
        sha256: hex digest of a file's content.
        linkname: what a symbolic link says.
        mtime: whole seconds since 1970.
        device: major and minor number of a device node.
        same_as: for a file with several names, the first of them in the alphabet.
        implied: made because something lies below it, never described: only its type counts.
        preview: the beginning of the content, for messages only.
    """

    type: NodeType
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    sha256: str | None = None
    linkname: str | None = None
    mtime: int | None = None
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    same_as: str | None = None
    implied: bool = False
    preview: bytes = field(default=b"", compare=False, repr=False)


Tree = dict[str, Node]


@dataclass(frozen=True)
class Powers:
    """What the user that unpacks may do: without root, owners and devices can't be restored."""

    owners: bool = True
    devices: bool = True
    times: bool = True
    xattrs: bool = True


def powers_here() -> Powers:
    """What a child of this process may do, user namespaces considered.

    In a user namespace devices can't be made at all, and owners only where the namespace maps
    more than the caller's own id.
    """
    if os.geteuid() != 0:
        return Powers(owners=False, devices=False)
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return Powers()
    mapped = sum(int(line.split()[2]) for line in lines)
    first_namespace = mapped >= 2**32 - 1
    return Powers(owners=first_namespace or mapped > 65535, devices=first_namespace)


def tree_of(root: Path) -> Tree:
    """Read the tree below `root`, following nothing. Files are hashed, one MiB at a time.

    Raises OSError when something can't be read.
    """
    tree: Tree = {}
    names_of: dict[tuple[int, int], list[str]] = {}
    for path, entry, status in _walk(root, ""):
        tree[path] = _node(entry, status)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            names_of.setdefault((status.st_dev, status.st_ino), []).append(path)
    for names in names_of.values():
        first = min(names)
        if len(names) > 1:
            for name in names:
                tree[name] = _replaced_link(tree[name], first)
    return tree


def _replaced_link(node: Node, first: str) -> Node:
    return Node(**{**vars(node), "same_as": first})


def _walk(root: Path, below: str) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Every path below `root`; directories before what they hold; a stack, not recursion."""
    waiting = [below]
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                path = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    # An overlay lists its whiteouts where nothing is merged, and denies them.
                    continue
                yield path, Path(entry.path), status
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)


_TYPES: dict[int, NodeType] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}


def _node(path: Path, status: os.stat_result) -> Node:
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    digest, preview = _content(path) if kind == "file" else (None, b"")
    return Node(
        type=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == "file" else None,
        sha256=digest,
        linkname=os.readlink(path) if kind == "symlink" else None,
        mtime=int(status.st_mtime),
        device=(os.major(status.st_rdev), os.minor(status.st_rdev))
        if kind in ("char", "block")
        else None,
        xattrs=_xattrs(path),
        preview=preview,
    )


def _content(path: Path) -> tuple[str, bytes]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        first = chunk = file.read(_CHUNK)
        while chunk:
            digest.update(chunk)
            chunk = file.read(_CHUNK)
    return digest.hexdigest(), first[:_SHOWN]


def _xattrs(path: Path) -> dict[str, bytes]:
    """Extended attributes, without those of the overlay and of the host's security module."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in names
            if not name.startswith(("trusted.overlay.", "user.overlay.", "security.selinux"))
        }
    except OSError:
        # The file system has none, or forbids reading them: then there is nothing to compare.
        return {}


def differences(expected: Tree, actual: Tree, powers: Powers = Powers()) -> list[str]:
    """How `actual` departs from `expected`, a line for each path, in the alphabet's order."""
    lines = []
    for path in sorted(expected.keys() | actual.keys()):
        wanted, found = expected.get(path), actual.get(path)
        if wanted is None:
            assert found is not None
            lines.append(f"{path}: a {found.type} that should not be there")
        elif found is None:
            if wanted.type in ("char", "block") and not powers.devices:
                continue
            lines.append(f"{path}: missing, expected a {wanted.type}")
        else:
            if not powers.devices and wanted.type in ("char", "block"):
                continue
            lines += (f"{path}: {words}" for words in _compare(wanted, found, powers))
    return lines


def _compare(wanted: Node, found: Node, powers: Powers) -> Iterator[str]:
    if wanted.type != found.type:
        yield f"is a {found.type}, expected a {wanted.type}"
        return
    if wanted.implied:
        return
    if wanted.sha256 is not None and wanted.sha256 != found.sha256:
        yield (
            f"holds {found.size} bytes {_shown(found)}, expected {wanted.size} bytes "
            f"{_shown(wanted)}"
        )
    if wanted.linkname != found.linkname:
        yield f"points to {found.linkname!r}, expected {wanted.linkname!r}"
    if wanted.device != found.device:
        yield f"is device {found.device}, expected {wanted.device}"
    if wanted.type != "symlink" and wanted.mode is not None and wanted.mode != found.mode:
        yield f"has mode {found.mode or 0:04o}, expected {wanted.mode:04o}"
    if (
        powers.owners
        and wanted.uid is not None
        and (wanted.uid, wanted.gid)
        != (
            found.uid,
            found.gid,
        )
    ):
        yield f"belongs to {found.uid}:{found.gid}, expected {wanted.uid}:{wanted.gid}"
    if powers.times and wanted.mtime is not None and wanted.mtime != found.mtime:
        yield f"has mtime {found.mtime}, expected {wanted.mtime}"
    if wanted.same_as != found.same_as:
        yield f"is {_linked(found)}, expected {_linked(wanted)}"
    if powers.xattrs:
        yield from _compare_xattrs(wanted.xattrs, found.xattrs)


def _compare_xattrs(wanted: Mapping[str, bytes], found: Mapping[str, bytes]) -> Iterator[str]:
    for name in sorted(wanted):
        if wanted[name] != found.get(name):
            yield f"has xattr {name} = {found.get(name)!r}, expected {wanted[name]!r}"
    for name in sorted(found.keys() - wanted.keys()):
        # Other name spaces are the file system's own; only 'user.' can have come from the layer.
        if name.startswith("user."):
            yield f"has xattr {name}, expected none of that name"


def _shown(node: Node) -> str:
    text = repr(node.preview)[1:]
    return text if node.size is not None and node.size <= _SHOWN else text + "…"


def _linked(node: Node) -> str:
    return "a file with one name" if node.same_as is None else f"the same file as {node.same_as}"
