"""Mutants that put layers over layers wrongly: whiteouts, and entries in place of others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from conformance.mutate import mutant
from reference.errors import LayerError
from reference.files import Place
from reference.layers import METADATA, LayerApplier
from reference.pull import Puller
from reference.rootfs import Root
from reference.tar import Entry


class _FirstWins(LayerApplier):
    def make_file(self, entry: Entry, path: bytes, body: Iterator[memoryview]) -> None:
        """What is there stays there."""
        if not (self.folder / os.fsdecode(path)).is_file():
            super().make_file(entry, path, body)


@mutant(
    "first-layer-wins",
    area="unpack",
    kills={
        "unpack/docker-layer-types",
        "unpack/later-layer-wins",
        "unpack/links-are-replaced-not-followed",
        "unpack/opaque-whiteout-last",
        "unpack/padding-counts-for-the-diff-id",
        "unpack/plain-and-gzip-layers",
        "unpack/whiteout-after-its-own-file",
        "unpack/zstd-layer",
    },
)
class FirstLayerWins(Puller):
    """Keeps the file of the lower layer where a higher one has it too."""

    layers = _FirstWins


class _NoWhiteouts(LayerApplier):
    def hide(self, path: bytes) -> None:
        """What is there stays there."""


@mutant(
    "ignores-whiteouts",
    area="unpack",
    kills={
        "incident/whiteouts-of-a-folder-and-in-it",
        "incident/whiteouts-in-any-place",
        "unpack/directory-made-anew-is-empty",
        "unpack/whiteout-removes-what-is-below",
    },
)
class IgnoresWhiteouts(Puller):
    """Leaves what a whiteout should hide."""

    layers = _NoWhiteouts


class _VisibleWhiteouts(LayerApplier):
    def apply_whiteout(self, parent: bytes, name: bytes) -> None:
        """Hide, and leave a note of it."""
        super().apply_whiteout(parent, name)
        place = self.place(parent + b"/" + name if parent else name, create=False)
        if place is not None and not name.startswith(METADATA):
            os.close(os.open(place.name, os.O_CREAT, 0o644, dir_fd=place.parent))


@mutant(
    "whiteouts-stay-visible",
    area="unpack",
    kills={
        "unpack/directory-made-anew-is-empty",
        "unpack/whiteout-after-its-own-file",
        "unpack/whiteout-before-its-own-file",
        "unpack/whiteout-of-nothing",
        "unpack/whiteout-removes-what-is-below",
    },
)
class WhiteoutsStayVisible(Puller):
    """Hides what a whiteout names, and shows the whiteout."""

    layers = _VisibleWhiteouts


class _NeedsAVictim(LayerApplier):
    def hide(self, path: bytes) -> None:
        """What is to be removed has to be there."""
        if not os.path.lexists(self.folder / os.fsdecode(path)):
            raise LayerError("a whiteout of nothing")
        super().hide(path)


@mutant(
    "whiteouts-need-a-victim",
    area="unpack",
    kills={
        "incident/whiteout-of-what-isnt-there",
        "unpack/whiteout-of-nothing",
    },
)
class WhiteoutsNeedAVictim(Puller):
    """Fails at a whiteout whose name no lower layer has."""

    layers = _NeedsAVictim


class _SparesNothing(LayerApplier):
    def keeps(self, path: bytes) -> bool:
        """Hidden is hidden, whoever made it."""
        return False


@mutant(
    "whiteouts-spare-nothing",
    area="unpack",
    kills={
        "incident/opaque-whiteout-in-any-place",
        "incident/whiteout-behind-its-own-file",
        "unpack/opaque-whiteout-last",
        "unpack/opaque-whiteout-spares-implied-directories",
        "unpack/whiteout-after-its-own-file",
    },
)
class WhiteoutsSpareNothing(Puller):
    """Hides what a whiteout's own layer made before it."""

    layers = _SparesNothing


class _HidesLast(LayerApplier):
    def begin(self, folder: Path) -> Root:
        """No whiteout is waiting."""
        self._waiting: list[tuple[bytes, bytes]] = []
        return super().begin(folder)

    def apply_whiteout(self, parent: bytes, name: bytes) -> None:
        """There is time until the layer's end."""
        self._waiting.append((parent, name))

    def keeps(self, path: bytes) -> bool:
        """By then nobody knows who made what."""
        return False

    def finish(self) -> None:
        """Hide all at once."""
        for parent, name in self._waiting:
            super().apply_whiteout(parent, name)
        super().finish()


@mutant(
    "whiteouts-come-last",
    area="unpack",
    kills={
        "incident/opaque-whiteout-in-any-place",
        "unpack/directory-made-anew-is-empty",
        "unpack/opaque-whiteout-first",
        "unpack/opaque-whiteout-last",
        "unpack/opaque-whiteout-spares-implied-directories",
        "unpack/whiteout-after-its-own-file",
        "unpack/whiteout-before-its-own-file",
    },
)
class WhiteoutsComeLast(Puller):
    """Applies a layer's whiteouts when its files are made, and hides those."""

    layers = _HidesLast


class _Revives(LayerApplier):
    def begin(self, folder: Path) -> Root:
        """Nothing is hidden yet."""
        self._hidden: set[bytes] = set()
        return super().begin(folder)

    def hide(self, path: bytes) -> None:
        """Remember it: the layer may have it again."""
        self._hidden.add(path)

    def finish(self) -> None:
        """Hide what the layer didn't make again."""
        for path in self._hidden:
            if not self.keeps(path):
                super().hide(path)
        super().finish()


@mutant(
    "directory-revives-what-is-hidden",
    area="unpack",
    kills={
        "incident/folder-removed-and-made-anew",
        "unpack/directory-made-anew-is-empty",
    },
)
class DirectoryRevivesWhatIsHidden(Puller):
    """Forgets a whiteout when its layer makes a directory of that name, as an overlay may."""

    layers = _Revives


class _NoOpaque(LayerApplier):
    def hide_children(self, directory: bytes) -> None:
        """What is there stays there."""


@mutant(
    "ignores-opaque-whiteouts",
    area="unpack",
    kills={
        "incident/opaque-whiteout-in-any-place",
        "unpack/opaque-whiteout-first",
        "unpack/opaque-whiteout-last",
        "unpack/opaque-whiteout-spares-implied-directories",
    },
)
class IgnoresOpaqueWhiteouts(Puller):
    """Leaves what an opaque whiteout should hide."""

    layers = _NoOpaque


class _EntriesAlone(LayerApplier):
    def keeps(self, path: bytes) -> bool:
        """What no entry describes wasn't made by the layer."""
        return path in self._made


@mutant(
    "opaque-hides-implied-directories",
    area="unpack",
    kills={"unpack/opaque-whiteout-spares-implied-directories"},
)
class OpaqueHidesImpliedDirectories(Puller):
    """Remembers what a layer's entries describe, and not the folders made for them."""

    layers = _EntriesAlone


class _ByTheLetter(LayerApplier):
    def apply_whiteout(self, parent: bytes, name: bytes) -> None:
        """What follows `.wh.` is the name, and two dots are the folder above."""
        if name == b".wh...":
            self.hide_children(parent.rpartition(b"/")[0])
        else:
            super().apply_whiteout(parent, name)


@mutant("whiteout-hides-the-parent", area="unpack", kills={"unpack/whiteout-named-parent"})
class WhiteoutHidesTheParent(Puller):
    """Takes the whiteout `.wh...` for one of the folder above."""

    layers = _ByTheLetter


class _NamelessHides(LayerApplier):
    def apply_whiteout(self, parent: bytes, name: bytes) -> None:
        """What follows `.wh.` is the name, and none is the folder itself."""
        if name in (b".wh.", b".wh.."):
            self.hide(parent)
        else:
            super().apply_whiteout(parent, name)


@mutant(
    "nameless-whiteout-hides-its-folder", area="unpack", kills={"unpack/whiteout-without-a-name"}
)
class NamelessWhiteoutHidesItsFolder(Puller):
    """Takes whiteouts without a name for ones of the folder that they are in."""

    layers = _NamelessHides


class _ShowsAUFS(LayerApplier):
    def is_hidden(self, parent: bytes) -> bool:
        """A folder is a folder."""
        return False


@mutant("shows-aufs-names", area="unpack", kills={"unpack/aufs-names-are-hidden"})
class ShowsAUFSNames(Puller):
    """Looks at the last part of a name alone, and unpacks what lies in AUFS's own folders."""

    layers = _ShowsAUFS


class _KeepsDirectories(LayerApplier):
    def make_file(self, entry: Entry, path: bytes, body: Iterator[memoryview]) -> None:
        """A directory may hold what somebody needs."""
        place = self.place(path)
        there = self.folder / os.fsdecode(place.path if place else path)
        if there.is_dir() and not there.is_symlink():
            raise LayerError(f"{there.name} is a directory")
        super().make_file(entry, path, body)


@mutant(
    "files-replace-no-directory",
    area="unpack",
    kills={
        "incident/kinds-take-places-of-kinds",
        "unpack/kinds-replace-each-other",
    },
)
class FilesReplaceNoDirectory(Puller):
    """Fails where a file stands for a directory of a lower layer."""

    layers = _KeepsDirectories


class _KeepsAttributes(LayerApplier):
    def make_directory(self, entry: Entry, path: bytes) -> None:
        """One that is there is as it should be."""
        there = self.folder / os.fsdecode(path)
        if there.is_symlink() or not there.is_dir():
            super().make_directory(entry, path)


@mutant(
    "directories-keep-attributes",
    area="unpack",
    kills={
        "unpack/directories-merge",
        "unpack/docker-layer-types",
        "unpack/padding-counts-for-the-diff-id",
        "unpack/plain-and-gzip-layers",
        "unpack/zstd-layer",
    },
)
class DirectoriesKeepAttributes(Puller):
    """Leaves a directory of a lower layer as it is."""

    layers = _KeepsAttributes


class _LinksAreDirectories(LayerApplier):
    def make_directory(self, entry: Entry, path: bytes) -> None:
        """A link to a directory is one."""
        there = self.folder / os.fsdecode(path)
        if not (there.is_symlink() and there.is_dir()):
            super().make_directory(entry, path)


@mutant(
    "links-pass-for-directories", area="unpack", kills={"unpack/links-are-replaced-not-followed"}
)
class LinksPassForDirectories(Puller):
    """Takes a symbolic link for the directory that a layer wants in its place."""

    layers = _LinksAreDirectories


class _OwnDirectories(LayerApplier):
    def place(self, path: bytes, *, create: bool = True) -> Place | None:
        """The folders of a layer are its own: a link in the way makes room."""
        parent = path.rpartition(b"/")[0]
        if create and parent and (self.folder / os.fsdecode(parent)).is_symlink():
            link = super().place(parent)
            assert link is not None
            self.root.remove(link.parent, link.name, link.path)
        return super().place(path, create=create)


@mutant("directory-replaces-lower-link", area="unpack", kills={"unpack/file-below-a-lower-link"})
class DirectoryReplacesLowerLink(Puller):
    """Makes a directory of a lower layer's link when a file lies below its name."""

    layers = _OwnDirectories
