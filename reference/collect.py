"""Garbage collection: what no record leads to is removed, whoever left it there.

A record leads to its target; an index to those of its manifests that are here; a manifest to its
config and its layers; a config to the snapshot of its layers. All else goes: content and snapshots
of removed images and of pulls that failed, and the bytes so far of blobs that nobody writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reference.compat import AS_STORED, switched
from reference.descriptors import Descriptor
from reference.errors import PullError
from reference.manifests import ImageConfig, Index, Manifest, Manifests
from reference.store import disk

if TYPE_CHECKING:
    from reference.local import Local


@dataclass(frozen=True)
class Stored:
    """An image of this store: its manifest is here, the rest may be."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig | None
    """None where the config isn't here, or can't be read."""


@dataclass
class Reachable:
    """What records lead to."""

    documents: dict[str, Descriptor] = field(default_factory=dict)
    """Indexes and manifests that are here, by digest."""
    images: dict[str, Stored] = field(default_factory=dict)
    """The images among them, by the digest of the manifest."""


@dataclass(frozen=True)
class Collected:
    """What a collection removed."""

    blobs: int
    snapshots: int
    partial: int
    """Blobs of which only a part had come."""
    freed: int
    """Bytes of content, whole and partial."""


def reachable(local: Local, targets: Iterable[Descriptor]) -> Reachable:
    """Follow the targets through every document that is here and can be read."""
    found = Reachable()
    waiting = list(targets)
    manifests = switched(local.manifests, AS_STORED)()
    while waiting:
        descriptor = waiting.pop()
        if descriptor.digest in found.documents or not local.content.has(descriptor.digest):
            continue
        found.documents[descriptor.digest] = descriptor
        try:
            document = manifests.read(local.read(descriptor), descriptor)
        except PullError:
            continue  # damaged: it leads nowhere, and `refpull fsck` says so
        if isinstance(document, Index):
            waiting += document.entries
        else:
            config = _config(local, document, manifests)
            found.images[descriptor.digest] = Stored(descriptor, document, config)
    return found


def _config(local: Local, manifest: Manifest, manifests: Manifests) -> ImageConfig | None:
    try:
        return manifests.config(local.read(manifest.config), manifest)
    except PullError:
        return None


class Collector:
    """Removes what isn't needed. Nobody else may be at work: see `Leases.collecting`."""

    def __init__(self, local: Local) -> None:
        self.local = local

    def collect(self) -> Collected:
        """Remove content, snapshots and remains that no record leads to."""
        found = reachable(self.local, (image.target for image in self.local.records.list()))
        content, snapshots = self.needed(found)
        store = self.local.content
        blobs = freed = 0
        for digest in list(store.digests()):
            if digest not in content:
                freed += store.size(digest)
                blobs += store.delete(digest)
        partial = 0
        for path in store.partial():
            freed += self.remove_partial(path)
            partial += 1
        removed = 0
        for snapshotter in self.local.snapshotters.values():
            for folder in snapshotter.folders():
                if folder not in snapshots:
                    snapshotter.remove(folder)
                    removed += 1
        return Collected(blobs, removed, partial, freed)

    def needed(self, found: Reachable) -> tuple[set[str], set[Path]]:
        """The digests and the snapshots that stay."""
        content = set(found.documents)
        snapshots = set()
        for image in found.images.values():
            content.add(image.manifest.config.digest)
            unpacked = False
            if image.config is not None:
                for each in self.local.snapshotters.values():
                    snapshots.update(each.folders_of(image.config.diff_ids))
                    unpacked = unpacked or each.has(image.config.diff_ids)
            if not (unpacked and self.local.config.discard_unpacked_layers):
                layers = (*image.manifest.layers, *image.manifest.others)
                content.update(layer.digest for layer in layers)
        return content, snapshots

    def remove_partial(self, path: Path) -> int:
        """Remove the bytes so far of one blob; returns how many they were."""
        with disk(f"cannot remove {path}"), suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            return size
        return 0
