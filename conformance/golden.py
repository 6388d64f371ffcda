"""The tree that an image's layers must give, computed from what was declared of them.

The rules are those of image-spec 1.1, ``layer.md``: entries are applied in order, whiteouts
hide what lower layers have and nothing of their own layer, an entry replaces what stands there,
and a directory over a directory only changes attributes. No tar is read on the way: what is
compared with a puller's result must not share a tar reader's mistakes.

Where the text is silent, common practice decides: a name is bounded to the root, and a parent
that is a symbolic link is followed inside the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from posixpath import normpath
from typing import Any

from conformance.tree import Node, NodeType, Tree
from fakeregistry.content.data import sha256_of
from fakeregistry.content.entries import Entry, RawEntry

__all__ = ["NotGolden", "golden_tree"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_MOST_LINKS = 40
"""As many symbolic links as Linux follows in one path."""

_TYPES: Mapping[str, NodeType] = {
    "0": "file",
    "\0": "file",
    "7": "file",
    "2": "symlink",
    "3": "char",
    "4": "block",
    "5": "dir",
    "6": "fifo",
}


class NotGolden(ValueError):  # noqa: N818 - names what the layers are
    """These layers have no golden tree: raw bytes, or tar members that no rule speaks of."""


def golden_tree(layers: Iterable[Any]) -> Tree:
    """The tree that these layers give, bottom first.

    A layer is an iterable of entries, or anything with ``unpacked`` (a `fakeregistry` ``Layer``).
    Raises `NotGolden` for layers made of raw bytes and for members that have no place in a tree.
    """
    builder = _Builder()
    for layer in layers:
        raw = getattr(layer, "raw_tar", None)
        if raw is not None and any(raw):
            raise NotGolden("a layer of raw tar bytes has no declared tree")
        entries: Iterable[Entry] = getattr(layer, "unpacked", layer)
        builder.apply([entry.raw() for entry in entries])
    return builder.finished()


class _Builder:
    """The tree so far. Hard links share one ``_File``, so that a later write can be seen in all."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        # Which names share an inode: path -> number of the inode.
        self.inodes: dict[str, int] = {}
        self.next_inode = 0
        # Directories in which the layer that is being applied changed something.
        self.touched: set[str] = set()

    def apply(self, members: list[RawEntry]) -> None:
        listed: set[str] = set()
        self.touched.clear()
        # Whiteouts first: they speak of lower layers, whatever their place in this one.
        for member in members:
            self._hide(_name(member))
        for member in members:
            path = self._place(member)
            if path is None:
                continue
            self.touched.add(_parent(path))
            if self.nodes[path].type == "dir" and not self.nodes[path].implied:
                listed.add(path)
        # A directory that got or lost a child without being described has any time it likes, and
        # so has one with a whiteout in it: an overlay writes it down, also where it hides nothing.
        for path in self.touched - listed:
            if path in self.nodes:
                self.nodes[path] = replace(self.nodes[path], mtime=None)

    def finished(self) -> Tree:
        """The tree, with each hard link named after the first of its names."""
        names: dict[int, list[str]] = {}
        for path, inode in self.inodes.items():
            names.setdefault(inode, []).append(path)
        tree = dict(self.nodes)
        for group in names.values():
            if len(group) > 1:
                for path in group:
                    tree[path] = replace(tree[path], same_as=min(group))
        return tree

    def _hide(self, name: str) -> None:
        parent, _, base = name.rpartition("/")
        if not base.startswith(_WHITEOUT):
            return
        folder = self._resolved(parent, make=False)
        if folder is None:
            return
        self.touched.add(folder)
        if base == _OPAQUE:
            for path in [each for each in self.nodes if _parent(each) == folder]:
                self._drop(path)
            return
        victim = base[len(_WHITEOUT) :]
        # '.wh.', '.wh..' and '.wh...' name nothing, this folder and its parent: no rule gives
        # them a meaning, so they hide nothing. '.wh..wh.*' are AUFS' own and never visible.
        if victim in ("", ".", "..") or victim.startswith(_WHITEOUT):
            return
        path = f"{folder}/{victim}" if folder else victim
        if path in self.nodes:
            self._drop(path)

    def _place(self, member: RawEntry) -> str | None:
        name = _name(member)
        if not name:
            return None
        parent, _, base = name.rpartition("/")
        if any(part.startswith(_WHITEOUT) for part in name.split("/")):
            return None
        folder = self._resolved(parent, make=True)
        assert folder is not None
        path = f"{folder}/{base}" if folder else base
        if member.type == "1":
            self._link(path, member)
            return path
        kind = _TYPES.get(member.type)
        if kind is None:
            raise NotGolden(f"{name}: tar type {member.type!r} has no place in a tree")
        both_directories = kind == "dir" and path in self.nodes and self.nodes[path].type == "dir"
        if not both_directories:
            self._drop(path)
        self.nodes[path] = _node(kind, member)
        if kind == "file":
            self.inodes[path] = self.next_inode
            self.next_inode += 1
        return path

    def _link(self, path: str, member: RawEntry) -> None:
        target = _bounded(_record(member, "linkpath", member.linkname))
        parent, _, base = target.rpartition("/")
        folder = self._resolved(parent, make=False)
        source = None if folder is None else (f"{folder}/{base}" if folder else base)
        if source is None or source not in self.nodes or self.nodes[source].type == "dir":
            raise NotGolden(f"{path}: a hard link to {target!r}, which isn't there")
        node = self.nodes[source]
        if source == path:
            return
        self._drop(path)
        self.nodes[path] = node
        if source in self.inodes:
            self.inodes[path] = self.inodes[source]

    def _drop(self, path: str) -> None:
        below = path + "/"
        for each in [one for one in self.nodes if one == path or one.startswith(below)]:
            del self.nodes[each]
            self.inodes.pop(each, None)

    def _resolved(self, folder: str, *, make: bool) -> str | None:
        """Where `folder` really is, links followed inside the root; None: it doesn't exist."""
        waiting = [part for part in folder.split("/") if part][::-1]
        here: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                here = here[:-1]
                continue
            path = "/".join([*here, part])
            node = self.nodes.get(path)
            if node is not None and node.type == "symlink":
                links += 1
                if links > _MOST_LINKS:
                    raise NotGolden(f"{folder}: too many symbolic links")
                target = node.linkname or ""
                if target.startswith("/"):
                    here = []
                waiting += [each for each in target.split("/") if each not in ("", ".")][::-1]
                continue
            if node is None or node.type != "dir":
                if not make:
                    return None
                self._drop(path)
                self.nodes[path] = Node("dir", implied=True)
                self.touched.add(_parent(path))
            here.append(part)
        return "/".join(here)


def _name(member: RawEntry) -> str:
    return _bounded(_record(member, "path", member.name))


def _bounded(name: str) -> str:
    """`name` without ``.`` and ``//``, and with ``..`` stopped at the root; empty: the root."""
    return normpath("/" + name).lstrip("/")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _record(member: RawEntry, key: str, otherwise: str) -> str:
    value = member.pax.get(key)
    return otherwise if value is None else value.decode("utf-8", "surrogateescape")


def _node(kind: NodeType, member: RawEntry) -> Node:
    is_file = kind == "file"
    return Node(
        type=kind,
        mode=None if kind == "symlink" else member.mode & 0o7777,
        uid=int(_record(member, "uid", str(member.uid))),
        gid=int(_record(member, "gid", str(member.gid))),
        size=len(member.data) if is_file else None,
        sha256=sha256_of(member.data) if is_file else None,
        linkname=_record(member, "linkpath", member.linkname) if kind == "symlink" else None,
        mtime=int(float(_record(member, "mtime", str(member.mtime)))),
        device=(member.major, member.minor) if kind in ("char", "block") else None,
        xattrs={
            key.removeprefix(_XATTR): value
            for key, value in member.pax.items()
            if key.startswith(_XATTR)
        },
        preview=bytes(member.data[:64]) if is_file else b"",
    )
