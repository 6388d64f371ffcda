"""Applying layers: a verified blob becomes files under one folder, and nothing outside of it.

image-spec `layer.md` says what an entry, a whiteout and an opaque whiteout mean; behaviours
LAYER-01 to LAYER-37 say what else a puller meets. Each decision is a method of `LayerApplier`.

Whiteouts hide only what lower layers brought, wherever in the tar they stand: what the current
layer made is remembered, and kept (LAYER-13, LAYER-14).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from reference import tar
from reference.compat import Quirks
from reference.decompress import Decompressor
from reference.descriptors import algorithm_of
from reference.errors import DiffIDMismatch, LayerError, StoreError, UnsafeEntry
from reference.files import FileMaker
from reference.pipeline import Ahead
from reference.rootfs import Root, shown
from reference.tar import Entry, TarReader

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
METADATA = b".wh..wh."
"""Names that AUFS kept for itself: never visible (LAYER-37)."""
_AHEAD = 16
"""Pieces of at most 124 KiB that are unpacked ahead of being applied."""
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE})
"""What the disk says when the layer isn't to blame."""


class LayerApplier(FileMaker):
    """Applies the layers of one image to the folder `root`, from the lowest to the topmost.

    `max_layer_size` bounds a layer's uncompressed bytes; 0 doesn't. `check` is called with every
    piece and may raise, to stop at once. Not to be shared between threads.
    """

    decompressor: type[Decompressor] = Decompressor
    quirks = Quirks()

    def __init__(
        self,
        root: Path,
        *,
        max_layer_size: int = 0,
        privileged: bool | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(privileged)
        self.folder = root
        self.max_layer_size = max_layer_size
        self._check = check
        self._emptied: set[bytes] = set()
        """Directories in which lower layers have nothing any more."""

    def begin(self, folder: Path) -> Root:
        """Start afresh in a folder: what is there now comes from lower layers."""
        self._emptied.clear()
        return super().begin(folder)

    # One layer

    def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
        """Apply one layer and return the digest of its uncompressed bytes, to the very last.

        With `diff_id` that digest has to be the same, else DiffIDMismatch: the folder then holds a
        wrong layer and is of no use, as after any other error.
        """
        try:
            if isinstance(blob, Path):
                with open(blob, "rb", buffering=0) as opened:
                    return self._apply_all(opened, media_type, diff_id)
            return self._apply_all(blob, media_type, diff_id)
        except OSError as error:  # of the blob or the folder, not of an entry
            raise StoreError(f"cannot unpack into {self.folder}: {error.strerror}") from error

    def _apply_all(self, blob: BinaryIO, media_type: str, diff_id: str | None) -> str:
        algorithm = "sha256" if diff_id is None else algorithm_of(diff_id)
        digest = hashlib.new(algorithm)
        with (
            self.begin(self.folder),
            Ahead(self.decompressor().stream(blob, media_type), _AHEAD) as pieces,
        ):
            reader = TarReader(self._watched(pieces, digest.update))
            for entry in reader:
                self._apply_one(entry, reader)
            self.read_to_end(reader)
            self.finish()
        actual = f"{algorithm}:{digest.hexdigest()}"
        if diff_id is not None:
            self.check_diff_id(diff_id, actual)
        return actual

    def _watched(self, pieces: Iterator[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
        """The pieces, hashed and counted as they pass."""
        total = 0
        for piece in pieces:
            self._check()
            total += len(piece)
            self.check_size(total)
            update(piece)
            yield piece

    def read_to_end(self, reader: TarReader) -> None:
        """What follows the archive's end has no meaning, and still counts for the diff_id."""
        reader.drain()

    def check_size(self, total: int) -> None:
        """Stop a layer that unpacks to more than is allowed (LAYER-31)."""
        if self.max_layer_size and total > self.max_layer_size:
            raise LayerError(f"the layer unpacks to more than {self.max_layer_size} bytes")

    def check_diff_id(self, expected: str, actual: str) -> None:
        """Compare the uncompressed layer with the image config's rootfs.diff_ids (LAYER-08)."""
        if actual != expected:
            raise DiffIDMismatch(f"the layer's diff_id is {actual}, not {expected}")

    # One entry

    def _apply_one(self, entry: Entry, reader: TarReader) -> None:
        try:
            self.apply_entry(entry, reader.body())
        except (OSError, OverflowError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            kind = StoreError if getattr(error, "errno", 0) in _DISK else LayerError
            raise kind(f"cannot unpack {shown(entry.name)}: {reason}") from error

    def apply_entry(self, entry: Entry, body: Iterator[memoryview]) -> None:
        """Do what one entry of the tar asks for."""
        path = self.clean(entry.name)
        if not path:
            return  # the root itself keeps its attributes (LAYER-30)
        parent, _, name = path.rpartition(b"/")
        if self.is_hidden(parent):
            return
        if name.startswith(WHITEOUT):
            self.apply_whiteout(parent, name)
        elif entry.kind == tar.REGULAR:
            self.make_file(entry, path, body)
        elif entry.kind == tar.DIRECTORY:
            self.make_directory(entry, path)
        elif entry.kind == tar.SYMLINK:
            self.make_symlink(entry, path)
        elif entry.kind == tar.HARDLINK:
            self.make_hardlink(entry, path)
        else:
            self.make_special(entry, path)

    def is_hidden(self, parent: bytes) -> bool:
        """Whether a directory on the way is one that no container may see."""
        if self.quirks.aufs_names_unpacked:
            return False
        return parent.startswith(WHITEOUT) or b"/" + WHITEOUT in parent

    # Whiteouts

    def apply_whiteout(self, parent: bytes, name: bytes) -> None:
        """Hide what lower layers have under a name, or in a whole directory."""
        if name == OPAQUE:
            self.hide_children(parent)
        elif name.startswith(METADATA):
            return
        else:
            hidden = name[len(WHITEOUT) :]
            if hidden in (b"", b".", b".."):
                raise UnsafeEntry(f"invalid whiteout {shown(name)}: it would hide its own parent")
            self.hide(parent + b"/" + hidden if parent else hidden)

    def hide(self, path: bytes) -> None:
        """Remove what lower layers have at `path`; none there is fine (LAYER-12, LAYER-15)."""
        place = self.place(path, create=False)
        if place is None:
            return
        if self.quirks.whiteouts_hide_own_files:
            self.root.remove(place.parent, place.name, place.path)
        elif self.first_time(place.path.rpartition(b"/")[0]):
            self.root.remove(place.parent, place.name, place.path, self.keeps, self._emptied)
            self._emptied.add(place.path)

    def first_time(self, directory: bytes) -> bool:
        """Whether this layer hasn't emptied a directory yet, by itself or with one above it.

        A layer may hide a thousand times the same, or each of a thousand directories in each
        other, and each time a thousand of its own files would be looked at (GHSA-rp3h-jf77-q9p4).
        """
        while directory not in self._emptied:
            if not directory:
                return True
            directory = directory.rpartition(b"/")[0]
        return False

    def hide_children(self, directory: bytes) -> None:
        """Remove what lower layers have in a directory, which itself stays (LAYER-13)."""
        found = self.root.directory(directory)
        if found is None:
            return
        fd, real = found
        if not self.first_time(real):
            return
        for child in os.listdir(fd):
            name = os.fsencode(child)
            # Removing may close the descriptor: the directory is looked up again each time.
            again = self.root.directory(real, follow=False)
            assert again is not None
            path = real + b"/" + name if real else name
            self.root.remove(again[0], name, path, self.keeps, self._emptied)
        self._emptied.add(real)
