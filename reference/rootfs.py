"""Working inside one folder, from which no path can lead out.

Every path is walked component by component on directory descriptors, without ever letting the
kernel follow a symbolic link: a link's target is read and walked in its turn, with `/` and `..`
ending at the root, as they would for a process inside the container (LAYER-17 to LAYER-20).
Paths are bytes, relative to the root, without empty, `.` or `..` components; b"" is the root.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from reference.errors import LayerError, UnsafeEntry

MAX_PATH = 4096
"""Longest path in bytes, counted from the root: what Linux takes in one call."""
_MAX_LINKS = 40
"""Most symbolic links in one walk: where Linux says ELOOP."""
_CACHED = 128
"""Directory descriptors kept open."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Level:
    """One directory that a removal is inside of."""

    name: bytes
    path: bytes
    children: list[bytes] = field(default_factory=list)


def _nothing(path: bytes, found: os.stat_result) -> None:
    return None


def _never(path: bytes) -> bool:
    return False


class Root:
    """A folder, worked in by its descriptor. To be closed; not to be shared between threads.

    `opened(path, stat)` is told of each directory when it is first opened, before anything in it
    changes, and `created(path)` of each one made on the way. Without `privileged`, directories that
    the owner may not enter or change are opened up: `opened` knows what to put back.
    """

    def __init__(
        self,
        path: Path,
        *,
        privileged: bool | None = None,
        opened: Callable[[bytes, os.stat_result], None] = _nothing,
        created: Callable[[bytes], None] = lambda path: None,
    ) -> None:
        self.privileged = os.geteuid() == 0 if privileged is None else privileged
        self._opened = opened
        self._created = created
        self._cache: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self._top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close every descriptor."""
        self.forget()
        if self._top >= 0:
            os.close(self._top)
            self._top = -1

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self) -> None:
        """Drop what is known of directories, because one of them, or a link, was removed."""
        for fd, _ in self._cache.values():
            os.close(fd)
        self._cache.clear()

    def directory(
        self, path: bytes, *, create: bool = False, follow: bool = True
    ) -> tuple[int, bytes] | None:
        """The directory at `path` as (descriptor, its path without links), None if there is none.

        The descriptor stays the root's: use it before the next call. With `create` missing
        directories are made, 0755, also where a link points to nothing. Without `follow` a link on
        the way counts as no directory.
        """
        found = self._cache.get(path)
        if found is not None and (follow or found[1] == path):
            self._cache.move_to_end(path)
            return found
        known, todo = path, []
        while known:
            found = self._cache.get(known)
            if found is not None and (follow or found[1] == known):
                break
            known, _, name = known.rpartition(b"/")
            todo.append(name)
        here = found if known and found is not None else (self._top, b"")
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                above = self.directory(here[1].rpartition(b"/")[0], follow=False)
                if above is None:
                    return None
                here = above
                continue
            step = self._step(here, name, create)
            if step is None:
                return None
            if isinstance(step, bytes):
                links += 1
                if not follow:
                    return None
                if links > _MAX_LINKS:
                    raise UnsafeEntry(f"too many symbolic links on the way to {shown(path)}")
                if step.startswith(b"/"):
                    here = (self._top, b"")
                todo.extend(reversed(step.split(b"/")))
                continue
            here = step
        if links:
            # An alias gets a descriptor of its own: each entry of the cache closes what it holds.
            here = self._keep(path, os.dup(here[0]), here[1])
        return here

    def _step(
        self, here: tuple[int, bytes], name: bytes, create: bool
    ) -> tuple[int, bytes] | bytes | None:
        """Go into `name`: the directory, or the target if it is a link, or None."""
        path = here[1] + b"/" + name if here[1] else name
        if len(path) > MAX_PATH:
            raise UnsafeEntry(f"a path of more than {MAX_PATH} bytes: {shown(path[:100])}...")
        known = self._cache.get(path)
        if known is not None and known[1] == path:
            return known
        try:
            fd, before = self.open_directory(here[0], name)
        except FileNotFoundError:
            if not create:
                return None
            os.mkdir(name, 0o755, dir_fd=here[0])
            fd, before = self.open_directory(here[0], name)
            self._created(path)
        except NotADirectoryError:
            try:
                return os.readlink(name, dir_fd=here[0])
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                if create:
                    raise LayerError(f"{shown(path)} is not a directory") from None
                return None
        self._opened(path, before)
        return self._keep(path, fd, path)

    def _keep(self, key: bytes, fd: int, path: bytes) -> tuple[int, bytes]:
        replaced = self._cache.pop(key, None)
        if replaced is not None:
            os.close(replaced[0])
        while len(self._cache) >= _CACHED:
            _, (old, _) = self._cache.popitem(last=False)
            os.close(old)
        self._cache[key] = (fd, path)
        return fd, path

    def open_directory(self, parent: int, name: bytes) -> tuple[int, os.stat_result]:
        """Open a directory, never through a link; returns what it was before it was opened up."""
        if self.privileged:
            fd = os.open(name, _OPEN, dir_fd=parent)
            return fd, os.fstat(fd)
        # chmod can't be told not to follow links, so it goes through a descriptor that didn't.
        handle = os.open(name, os.O_PATH | _OPEN, dir_fd=parent)
        try:
            before = os.fstat(handle)
            if before.st_mode & 0o700 != 0o700:
                os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(before.st_mode) | 0o700)
            return os.open(b".", _OPEN, dir_fd=handle), before
        finally:
            os.close(handle)

    def remove(
        self,
        parent: int,
        name: bytes,
        path: bytes,
        keep: Callable[[bytes], bool] = _never,
        emptied: Collection[bytes] = (),
    ) -> None:
        """Remove `name`, which is at `path`, and all that it holds, but nothing that is kept.

        A path is kept when `keep` says so; it then has to say so for the directories above it too.
        In the directories `emptied` there is nothing else: those that are kept aren't looked into.
        Goes down and up on one descriptor, so the depth of a tree costs neither stack nor files.
        """
        try:
            top = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        here = os.dup(parent)
        levels: list[_Level] = []
        current = _Level(name, path)
        try:
            while True:
                known = current.path in emptied and keep(current.path)
                inside = None if known else self._unlink(here, current, keep)
                if inside is not None:
                    os.close(here)
                    here = inside
                    current.children = [os.fsencode(child) for child in os.listdir(here)]
                    levels.append(current)
                while levels and not levels[-1].children:
                    above = os.open(b"..", _OPEN, dir_fd=here)
                    os.close(here)
                    here = above
                    done = levels.pop()
                    if not keep(done.path):
                        os.rmdir(done.name, dir_fd=here)
                if not levels:
                    return
                child = levels[-1].children.pop()
                current = _Level(child, levels[-1].path + b"/" + child)
        finally:
            os.close(here)
            if not stat.S_ISREG(top.st_mode):
                self.forget()

    def _unlink(self, here: int, level: _Level, keep: Callable[[bytes], bool]) -> int | None:
        """Remove what isn't a directory; a directory is opened instead."""
        found = os.stat(level.name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            return self.open_directory(here, level.name)[0]
        if not keep(level.path):
            os.unlink(level.name, dir_fd=here)
        return None


def shown(path: bytes) -> str:
    """A path as text for a message."""
    return path.decode("utf-8", "backslashreplace")


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, also where its owner may not write; none there is fine."""
    if not os.path.lexists(path):
        return
    with Root(path.parent) as root:
        found = root.directory(b"")
        assert found is not None
        root.remove(found[0], os.fsencode(path.name), os.fsencode(path.name))
