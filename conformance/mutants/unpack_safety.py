"""Mutants that let a layer out of its root: by names, links and whiteouts.

Each is careless in one way, and reaches what a case aims at: the canaries beside its stores.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from conformance.mutate import mutant
from reference.layers import LayerApplier
from reference.local import Found
from reference.manifests import Manifest
from reference.names import Name
from reference.pull import Pulled, Puller
from reference.rootfs import Root
from reference.tar import Entry


class _ByPath(LayerApplier):
    """Writes certain files by a path that the system resolves, links and all."""

    def careless(self, entry: Entry, path: bytes) -> bool:
        """Whether this file is written that way."""
        raise NotImplementedError

    def target(self, entry: Entry, path: bytes) -> Path:
        """Where it goes."""
        return self.folder / os.fsdecode(path)

    def make_file(self, entry: Entry, path: bytes, body: Iterator[memoryview]) -> None:
        """Open, and write."""
        if not self.careless(entry, path):
            super().make_file(entry, path, body)
            return
        target = self.target(entry, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.writelines(body)
        if self.privileged:
            os.chown(target, entry.uid, entry.gid)
        target.chmod(entry.mode)
        os.utime(target, ns=(entry.mtime, entry.mtime))
        self._note(path)

    def parent_is_link(self, path: bytes) -> bool:
        """Whether the name's folder is a symbolic link."""
        parent = path.rpartition(b"/")[0]
        return bool(parent) and (self.folder / os.fsdecode(parent)).is_symlink()


class _Climbs(_ByPath):
    def careless(self, entry: Entry, path: bytes) -> bool:
        """Names that climb."""
        return b".." in entry.name.split(b"/")

    def target(self, entry: Entry, path: bytes) -> Path:
        """Joined to the root, as it stands."""
        return Path(os.path.normpath(self.folder / os.fsdecode(entry.name)))


@mutant(
    "dot-dot-climbs-out",
    area="unpack",
    kills={
        "incident/names-lead-out",
        "unpack/dot-dot-names-stay-inside",
    },
)
class DotDotClimbsOut(Puller):
    """Joins names with `..` to the root."""

    layers = _Climbs


class _Absolute(_ByPath):
    def careless(self, entry: Entry, path: bytes) -> bool:
        """Absolute names."""
        return entry.name.startswith(b"/")

    def target(self, entry: Entry, path: bytes) -> Path:
        """Joined to the root, which an absolute name replaces."""
        return self.folder / os.fsdecode(entry.name)


@mutant(
    "absolute-names-lead-out",
    area="unpack",
    kills={
        "incident/names-lead-out",
        "unpack/absolute-names-stay-inside",
    },
)
class AbsoluteNamesLeadOut(Puller):
    """Joins absolute names to the root, as `os.path.join` has it."""

    layers = _Absolute


class _ThroughAbsoluteLinks(_ByPath):
    def careless(self, entry: Entry, path: bytes) -> bool:
        """Folders that are absolute links."""
        parent = self.folder / os.fsdecode(path.rpartition(b"/")[0])
        return self.parent_is_link(path) and os.readlink(parent).startswith("/")


@mutant(
    "absolute-links-are-followed",
    area="unpack",
    kills={
        "incident/folder-becomes-a-link",
        "incident/links-lead-out",
        "unpack/absolute-link-is-no-way-out",
        "unpack/link-over-a-directory-is-no-way-out",
    },
)
class AbsoluteLinksAreFollowed(Puller):
    """Writes through symbolic links that are absolute."""

    layers = _ThroughAbsoluteLinks


class _ThroughClimbingLinks(_ByPath):
    def careless(self, entry: Entry, path: bytes) -> bool:
        """Folders that are links upwards."""
        parent = self.folder / os.fsdecode(path.rpartition(b"/")[0])
        return self.parent_is_link(path) and os.readlink(parent).startswith("..")


@mutant(
    "climbing-links-are-followed",
    area="unpack",
    kills={
        "incident/links-lead-out",
        "unpack/climbing-link-is-no-way-out",
    },
)
class ClimbingLinksAreFollowed(Puller):
    """Looks whether a link is absolute, and not whether it climbs."""

    layers = _ThroughClimbingLinks


class _ThroughChains(_ByPath):
    def careless(self, entry: Entry, path: bytes) -> bool:
        """Folders that are links to links."""
        if not self.parent_is_link(path):
            return False
        parent = self.folder / os.fsdecode(path.rpartition(b"/")[0])
        return (parent.parent / os.readlink(parent)).is_symlink()


@mutant(
    "chained-links-are-followed",
    area="unpack",
    kills={
        "incident/links-lead-out",
        "unpack/chained-links-are-no-way-out",
    },
)
class ChainedLinksAreFollowed(Puller):
    """Checks where a link leads, and not where the link behind it does."""

    layers = _ThroughChains


class _RemembersDirectories(_ByPath):
    def begin(self, folder: Path) -> Root:
        """No directory is known."""
        self._known: set[bytes] = set()
        return super().begin(folder)

    def make_directory(self, entry: Entry, path: bytes) -> None:
        """Remember that it is one."""
        super().make_directory(entry, path)
        self._known.add(path)

    def careless(self, entry: Entry, path: bytes) -> bool:
        """Folders that were found to be directories before."""
        return path.rpartition(b"/")[0] in self._known


@mutant(
    "directories-are-checked-once",
    area="unpack",
    kills={
        "incident/folder-becomes-a-link",
        "unpack/link-over-a-directory-is-no-way-out",
    },
)
class DirectoriesAreCheckedOnce(Puller):
    """Believes that what was a directory once is one still."""

    layers = _RemembersDirectories


class _LinksByPath(LayerApplier):
    def make_hardlink(self, entry: Entry, path: bytes) -> None:
        """Where the name leads from here."""
        os.link(self.folder / os.fsdecode(entry.link), self.folder / os.fsdecode(path))


@mutant(
    "hard-links-by-path",
    area="unpack",
    kills={
        "incident/links-lead-out",
        "unpack/hard-link-behind-a-link-is-no-way-out",
        "unpack/hard-link-is-no-way-out",
    },
)
class HardLinksByPath(Puller):
    """Joins a hard link's target to the root and lets the system resolve it."""

    layers = _LinksByPath


class _ModesByPath(LayerApplier):
    def make_hardlink(self, entry: Entry, path: bytes) -> None:
        """Give the target the mode of the entry, be the target where it may."""
        target = self.folder / os.fsdecode(self.clean(entry.link))
        if target.exists():
            target.chmod(entry.mode)
        super().make_hardlink(entry, path)


@mutant(
    "hard-link-modes-by-path",
    area="unpack",
    kills={
        "incident/hard-link-changes-modes-outside",
        "unpack/hard-link-behind-a-link-is-no-way-out",
        "unpack/hard-links",
    },
)
class HardLinkModesByPath(Puller):
    """Sets a hard link's mode by a path that the system resolves (as in CVE-2021-32760)."""

    layers = _ModesByPath


class _RemovesByPath(LayerApplier):
    def hide(self, path: bytes) -> None:
        """What the system finds there."""
        found = self.folder / os.fsdecode(path)
        if found.parent.is_symlink() and found.is_file():
            found.unlink()
        else:
            super().hide(path)


@mutant(
    "whiteouts-by-path",
    area="unpack",
    kills={
        "incident/whiteouts-behind-links",
        "unpack/whiteout-behind-a-link-is-no-way-out",
    },
)
class WhiteoutsByPath(Puller):
    """Removes what a whiteout names by a path that the system resolves."""

    layers = _RemovesByPath


class _EmptiesByPath(LayerApplier):
    def hide_children(self, directory: bytes) -> None:
        """What the system finds there."""
        found = self.folder / os.fsdecode(directory)
        if found.is_dir() and found.parent.is_symlink():
            shutil.rmtree(found)
        else:
            super().hide_children(directory)


@mutant(
    "opaque-whiteouts-by-path",
    area="unpack",
    kills={
        "unpack/whiteout-behind-a-link-is-no-way-out",
    },
)
class OpaqueWhiteoutsByPath(Puller):
    """Empties a directory by a path that the system resolves."""

    layers = _EmptiesByPath


@mutant(
    "unpacked-needs-no-key",
    area="unpack",
    kills={"incident/encrypted-layers-are-unpacked-already"},
)
class UnpackedNeedsNoKey(Puller):
    """Looks for a key while it unpacks alone, as containerd does: what is unpacked is free."""

    def check_keys(self, manifest: Manifest) -> None:
        """It will be seen then."""


@mutant("labels-are-obeyed", area="unpack", kills={"incident/labels-name-a-program"})
class LabelsAreObeyed(Puller):
    """Starts the log that a label of the image names."""

    def record(self, name: Name, found: Found, rootfs: Path | None, *, schema1: bool) -> Pulled:
        """Then do as it says."""
        pulled = super().record(name, found, rootfs, schema1=schema1)
        config = json.loads(self.read(found.manifest.config))
        labels = (config.get("config") or {}).get("Labels") or {}
        log = urlsplit(labels.get("containerd.io/restart.loguri", ""))
        if log.scheme == "binary":
            Path(log.path).write_text("started\n")
        return pulled
