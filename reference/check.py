"""Checking a store: is everything that a record promises here, and is it what it was?

Content is hashed again. A snapshot is compared with its layers, applied once more to a folder
beside it. Nothing is asked of a registry; what a repair takes away, the next pull brings again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reference.collect import Stored, reachable
from reference.descriptors import hasher_for
from reference.errors import PullError
from reference.rootfs import remove_tree
from reference.snapshots import NATIVE, Snapshots
from reference.store import disk

if TYPE_CHECKING:
    from reference.images import Image
    from reference.local import Local

_PIECE = 1 << 20


@dataclass(frozen=True)
class Problem:
    """One thing that isn't as it was stored."""

    what: str
    """One line for people: `blob sha256:… is damaged`."""
    content: str = ""
    """The digest of the blob that is concerned."""
    folder: Path | None = None
    """The snapshot that is concerned."""


class Checker:
    """Finds problems, and takes broken things away. Nobody else may be at work."""

    def __init__(self, local: Local) -> None:
        self.local = local

    def check(self) -> list[Problem]:
        """Every problem of the store, in a fixed order."""
        return [*self.content(), *self.images(), *self.snapshots()]

    def repair(self, problem: Problem) -> None:
        """Take away what is broken, so that nobody takes it for whole."""
        if problem.folder is not None:
            remove_tree(problem.folder)
        elif problem.content:
            self.local.content.delete(problem.content)

    # Content.

    def content(self) -> Iterator[Problem]:
        """Blobs that don't have the digest under which they lie."""
        for digest in list(self.local.content.digests()):
            if not self.whole(digest):
                yield Problem(f"blob {digest} is damaged", content=digest)

    def whole(self, digest: str) -> bool:
        """Whether a blob has its digest."""
        found = hasher_for(digest)
        with self.local.content.open(digest) as file, disk(f"cannot read blob {digest}"):
            while data := file.read(_PIECE):
                found.update(data)
        return found.hexdigest() == digest.partition(":")[2]

    # Images.

    def images(self) -> Iterator[Problem]:
        """Records whose image, or a part of it, isn't here."""
        for record in self.local.records.list():
            for what in self.missing(record):
                yield Problem(f"{record.name}: {what}")

    def missing(self, record: Image) -> Iterator[str]:
        """What a record leads to and isn't here. Other platforms of an index never were."""
        found = reachable(self.local, [record.target])
        if not found.images:
            yield f"no image of {record.target.digest} is here"
        for image in found.images.values():
            config = image.manifest.config.digest
            if image.config is None:
                yield f"config {config} isn't here, or can't be read"
            if image.config is not None and self.discarded(image):
                continue
            for layer in image.manifest.layers:
                if not self.local.content.has(layer.digest, layer.size):
                    yield f"layer {layer.digest} isn't here"

    def discarded(self, image: Stored) -> bool:
        """Whether the layers may be gone: their files are unpacked, and nobody wants the blobs."""
        assert image.config is not None
        if not self.local.config.discard_unpacked_layers:
            return False
        return any(each.has(image.config.diff_ids) for each in self.local.snapshotters.values())

    # Snapshots.

    def snapshots(self) -> Iterator[Problem]:
        """Snapshots that aren't what their layers make; without the layers nobody can tell."""
        targets = (record.target for record in self.local.records.list())
        seen: set[Path] = set()
        for image in reachable(self.local, targets).images.values():
            for unpacked in self.local.snapshotters.values():
                if image.config is None or not unpacked.has(image.config.diff_ids):
                    continue
                folder = unpacked.path(image.config.diff_ids)
                if folder in seen or not self.complete(image):
                    continue
                seen.add(folder)
                for name in self.differences(image, unpacked):
                    yield Problem(
                        f"snapshot {folder.name}: {name} isn't as unpacked", folder=folder
                    )

    def complete(self, image: Stored) -> bool:
        """Whether every layer is here and whole."""
        store = self.local.content
        return all(
            store.has(layer.digest, layer.size) and self.whole(layer.digest)
            for layer in image.manifest.layers
        )

    def differences(self, image: Stored, unpacked: Snapshots) -> list[str]:
        """The first name that differs from what the layers make, or none."""
        assert image.config is not None
        plain = self.local.snapshotter(NATIVE)
        with plain.making() as made:
            try:
                plain.apply(
                    made,
                    self.local.content,
                    image.manifest,
                    image.config,
                    lambda layer: None,
                    lambda: None,
                )
            except PullError as error:
                return [f"it can't be compared ({error}), so all of it"]
            with unpacked.view(image.config.diff_ids) as tree, disk(f"cannot read {tree}"):
                return list(_differences(made, tree, "/"))[:1]


def _differences(right: Path, other: Path, name: str) -> Iterator[str]:
    """Names at which two trees differ in kind, mode, owner, time, content or children."""
    if not os.path.lexists(other) or not _alike(right, other):
        yield name
        return
    if not stat.S_ISDIR(right.lstat().st_mode):
        return
    for child in sorted({*os.listdir(right), *os.listdir(other)}):
        below = f"{name.rstrip('/')}/{child}"
        if os.path.lexists(right / child):
            yield from _differences(right / child, other / child, below)
        else:
            yield below


def _alike(right: Path, other: Path) -> bool:
    one, two = right.lstat(), other.lstat()
    kind = stat.S_IFMT(one.st_mode)
    if (one.st_mode, one.st_uid, one.st_gid) != (two.st_mode, two.st_uid, two.st_gid):
        return False
    if kind == stat.S_IFLNK:
        return os.readlink(right) == os.readlink(other)
    if kind in (stat.S_IFBLK, stat.S_IFCHR):
        return one.st_rdev == two.st_rdev
    if _attributes(right) != _attributes(other):
        return False
    if kind != stat.S_IFREG:
        return True
    times = (one.st_size, one.st_mtime_ns) == (two.st_size, two.st_mtime_ns)
    return times and _same_bytes(right, other)


def _attributes(path: Path) -> dict[str, bytes]:
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }


def _same_bytes(right: Path, other: Path) -> bool:
    with right.open("rb") as one, other.open("rb") as two:
        while data := one.read(_PIECE):
            if data != two.read(_PIECE):
                return False
        return not two.read(1)
