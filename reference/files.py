"""Making the files of a layer: every kind, with its attributes, in place of what was there.

Without root, owners and devices are left out, and so is any `security.*` attribute that the kernel
refuses; modes, times and the rest are the same.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reference import tar
from reference.errors import LayerError, UnsafeEntry
from reference.rootfs import MAX_PATH, Root, shown
from reference.tar import Entry

_NOT_HERE = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES})
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


MAX_DIRECTORIES = 64 * 1024 * 1024
"""Most bytes of the paths of directories that a layer puts something in. One short name can stand
for two thousand directories, whose paths together take 4 MB (LAYER-31)."""


@dataclass(slots=True)
class Place:
    """Where an entry goes: a name in an open directory, and its path from the root."""

    parent: int
    name: bytes
    path: bytes


@dataclass(slots=True)
class _Attributes:
    """What a directory shall have once nothing in it changes any more."""

    mode: int
    mtime: int | None
    uid: int | None = None
    gid: int | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict)


class FileMaker:
    """Makes files under a `Root`, and remembers what it made until `begin` is called again."""

    def __init__(self, privileged: bool | None = None) -> None:
        self.privileged = os.geteuid() == 0 if privileged is None else privileged
        self.root: Root
        self._made: set[bytes] = set()
        self._above: set[bytes] = set()
        self._room = MAX_DIRECTORIES
        self._directories: dict[bytes, _Attributes] = {}

    def begin(self, folder: Path) -> Root:
        """Start afresh in a folder: what is there now comes from lower layers."""
        self._made.clear()
        self._above.clear()
        self._room = MAX_DIRECTORIES
        self._directories.clear()
        self.root = Root(
            folder,
            privileged=self.privileged,
            opened=self._remember,
            created=self._remember_made,
        )
        return self.root

    def clean(self, name: bytes) -> bytes:
        """The path that a name in the tar stands for: relative, and never above the root.

        `..` above the root stays at the root, as containerd has it (LAYER-18).
        """
        if b"\0" in name:
            raise UnsafeEntry(f"a name with a NUL in it: {shown(name)}")
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b"..":
                del parts[-1:]
            elif part not in (b"", b"."):
                parts.append(part)
        path = b"/".join(parts)
        if len(path) > MAX_PATH:
            raise UnsafeEntry(f"a path of more than {MAX_PATH} bytes: {shown(path[:100])}...")
        return path

    def place(self, path: bytes, *, create: bool = True) -> Place | None:
        """Where `path` is, its parent's links resolved inside the root; None without a parent."""
        parent, _, name = path.rpartition(b"/")
        found = self.root.directory(parent, create=create)
        if found is None:
            return None
        fd, real = found
        return Place(fd, name, real + b"/" + name if real else name)

    def _new(self, path: bytes, make: Callable[[Place], None]) -> Place:
        """Make something at `path`, in place of whatever is there (LAYER-22, LAYER-23)."""
        place = self.place(path)
        assert place is not None
        try:
            make(place)
        except FileExistsError:
            self.root.remove(place.parent, place.name, place.path)
            place = self.place(path)
            assert place is not None
            make(place)
        self._note(place.path)
        return place

    def _note(self, path: bytes) -> None:
        """Remember that this layer made `path`, so that none of its whiteouts hides it."""
        self._made.add(path)
        while path:
            path = path.rpartition(b"/")[0]
            if path in self._above:
                break
            self._above.add(path)
            self._room -= len(path)
        if self._room < 0:
            raise LayerError("the layer has more directories than can be remembered")

    def keeps(self, path: bytes) -> bool:
        """Whether a whiteout has to leave `path`: this layer made it, or something inside."""
        return path in self._made or path in self._above

    def make_file(self, entry: Entry, path: bytes, body: Iterator[memoryview]) -> None:
        """Make a regular file with its content and attributes."""
        opened: list[int] = []

        def make(place: Place) -> None:
            opened.append(os.open(place.name, _FILE, 0o600, dir_fd=place.parent))

        self._new(path, make)
        fd = opened[0]
        try:
            if entry.extents is None:
                for piece in body:
                    _write(fd, piece)
            else:
                _write_sparse(fd, entry, body)
            if self.privileged:
                os.fchown(fd, entry.uid, entry.gid)
            self.set_xattrs(fd, entry)
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def make_directory(self, entry: Entry, path: bytes) -> None:
        """Make a directory, or take over the one that is there; attributes follow at the end."""

        def make(place: Place) -> None:
            try:
                os.mkdir(place.name, 0o700, dir_fd=place.parent)
            except FileExistsError:
                found = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
                if not stat.S_ISDIR(found.st_mode):
                    raise

        place = self._new(path, make)
        self._directories[place.path] = _Attributes(
            entry.mode, entry.mtime, entry.uid, entry.gid, entry.xattrs
        )

    def make_symlink(self, entry: Entry, path: bytes) -> None:
        """Make a symbolic link. Its target is only text: it may point anywhere."""
        place = self._new(path, lambda at: os.symlink(entry.link, at.name, dir_fd=at.parent))
        self._set_by_name(entry, place)

    def make_hardlink(self, entry: Entry, path: bytes) -> None:
        """Link to a file that is there, found inside the root; a link to a link is that link.

        The inode keeps the attributes it has: setting them again through the new name is what once
        reached files outside (LAYER-20, CVE-2021-32760).
        """
        target = self.clean(entry.link)
        source = self.place(target, create=False) if target else None
        if source is None:
            raise LayerError(f"{shown(path)} is a hard link to {shown(target)}, which is missing")
        holder = os.dup(source.parent)
        try:
            self._new(
                path,
                lambda at: os.link(
                    source.name,
                    at.name,
                    src_dir_fd=holder,
                    dst_dir_fd=at.parent,
                    follow_symlinks=False,
                ),
            )
        except FileNotFoundError:
            raise LayerError(
                f"{shown(path)} is a hard link to {shown(target)}, which is missing"
            ) from None
        finally:
            os.close(holder)

    def make_special(self, entry: Entry, path: bytes) -> None:
        """Make a FIFO or a device; without root devices are left out (LAYER-27)."""
        kind = stat.S_IFIFO
        device = 0
        if entry.kind != tar.FIFO:
            if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
                raise LayerError(f"{shown(path)} has the device number {entry.major}:{entry.minor}")
            if not self.privileged:
                return
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
            device = os.makedev(entry.major, entry.minor)
        try:
            place = self._new(
                path, lambda at: os.mknod(at.name, kind | 0o600, device, dir_fd=at.parent)
            )
        except PermissionError:
            if entry.kind == tar.FIFO:
                raise
            return  # root of a user namespace only: it may not make devices either
        self._set_by_name(entry, place)

    # Attributes

    def set_xattrs(self, target: int | str, entry: Entry | _Attributes) -> None:
        """Set extended attributes, except `trusted.*`; what this machine can't hold is left out."""
        for key, value in entry.xattrs.items():
            if key.startswith("trusted."):
                continue
            try:
                if isinstance(target, int):
                    os.setxattr(target, key, value)
                else:
                    os.setxattr(target, key, value, follow_symlinks=False)
            except OSError as error:
                user = key.startswith("user.")
                allowed = _NOT_HERE if user or not self.privileged else {errno.ENOTSUP}
                if error.errno not in allowed:
                    raise

    def _set_by_name(self, entry: Entry, place: Place) -> None:
        """Attributes of what can't be opened: links, devices, FIFOs."""
        if self.privileged:
            os.chown(place.name, entry.uid, entry.gid, dir_fd=place.parent, follow_symlinks=False)
        here = f"/proc/self/fd/{place.parent}/{os.fsdecode(place.name)}"
        self.set_xattrs(here, entry)
        if entry.kind != tar.SYMLINK:
            handle = os.open(place.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=place.parent)
            try:
                os.chmod(f"/proc/self/fd/{handle}", entry.mode)
            finally:
                os.close(handle)
        os.utime(
            place.name,
            ns=(entry.mtime, entry.mtime),
            dir_fd=place.parent,
            follow_symlinks=False,
        )

    def _remember(self, path: bytes, found: os.stat_result) -> None:
        """Note what a directory was before this layer changed something in it."""
        self._directories.setdefault(
            path, _Attributes(stat.S_IMODE(found.st_mode), found.st_mtime_ns)
        )

    def _remember_made(self, path: bytes) -> None:
        """Note that a directory was only made because something goes into it (LAYER-24)."""
        self._directories.setdefault(path, _Attributes(0o755, None))

    def finish(self) -> None:
        """Give every directory its attributes, the deepest first (LAYER-25)."""
        for path in sorted(self._directories, reverse=True):
            found = self.root.directory(path, follow=False)
            if found is None:
                continue  # a later entry, or a whiteout, removed it
            wanted = self._directories[path]
            try:
                self._set_directory(found[0], wanted)
            except (OSError, OverflowError, ValueError) as error:
                reason = (isinstance(error, OSError) and error.strerror) or str(error)
                raise LayerError(f"cannot unpack {shown(path)}: {reason}") from error

    def _set_directory(self, fd: int, wanted: _Attributes) -> None:
        if self.privileged and wanted.uid is not None and wanted.gid is not None:
            os.fchown(fd, wanted.uid, wanted.gid)
        self.set_xattrs(fd, wanted)
        os.fchmod(fd, wanted.mode)
        if wanted.mtime is not None:
            os.utime(fd, ns=(wanted.mtime, wanted.mtime))


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _write_sparse(fd: int, entry: Entry, body: Iterator[memoryview]) -> None:
    """Put the stored bytes where the map says; the rest stays a hole."""
    left = memoryview(b"")
    for offset, length in entry.extents or ():
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            left = left or next(body)
            piece = left[:length]
            left = left[len(piece) :]
            length -= len(piece)
            _write(fd, piece)
    os.ftruncate(fd, entry.size)
