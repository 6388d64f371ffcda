"""What can be done with images that are here already, without asking anybody."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from reference.check import Checker, Problem
from reference.collect import Collected, Collector
from reference.compat import switched
from reference.config import Config
from reference.descriptors import Descriptor
from reference.errors import ConfigError, ManifestError, PullError, StoreError
from reference.images import MANAGED, Image, ImageStore
from reference.layers import LayerApplier
from reference.layout import LayoutWriter
from reference.leases import Leases
from reference.manifests import Manifest, Manifests
from reference.names import Names
from reference.output import fresh_directory
from reference.overlay import OverlaySnapshots
from reference.platforms import Platform, PlatformMatcher
from reference.snapshots import Snapshots
from reference.store import Store

_IMAGE_ID = re.compile(r"(?:sha256:)?(?P<hex>[0-9a-f]{64})")


@dataclass(frozen=True)
class Found:
    """The image that a root descriptor has for a platform."""

    target: Descriptor
    descriptor: Descriptor
    manifest: Manifest


@dataclass(frozen=True)
class Held:
    """An image that is here, and every record that means it."""

    found: Found
    records: list[Image] = field(default_factory=list)


class Local:
    """The store, the unpacked images and the records of one root folder."""

    names = Names
    platforms = PlatformMatcher
    manifests = Manifests
    store = Store
    layers = LayerApplier
    snapshots = Snapshots
    overlay = OverlaySnapshots
    images = ImageStore
    layout = LayoutWriter
    leases = Leases
    collector = Collector
    checker = Checker

    def __init__(self, config: Config, root: Path) -> None:
        self.config = config
        self.root = root
        for part in ("manifests", "platforms", "store", "layers", "images"):
            setattr(self, part, switched(getattr(self, part), config.quirks))
        self.content = self.store(root)
        self.records = self.images(root)
        self.snapshotters: dict[str, Snapshots] = {
            each.name: each(root, self.layers, config.decryption_keys, config.max_layer_size)
            for each in (self.snapshots, self.overlay)
        }
        self.unpacked = self.snapshotter(config.snapshotter)
        self.lease = self.leases(root)

    def snapshotter(self, name: str) -> Snapshots:
        """The snapshotter of that name."""
        try:
            return self.snapshotters[name]
        except KeyError:
            known = ", ".join(self.snapshotters)
            raise ConfigError(f"no snapshotter is called {name!r}: there are {known}") from None

    def status(self, reference: str) -> Image | None:
        """The record of an image, by a name as a user types it or by its id; None without one."""
        return self.records.get(self.name(reference))

    def name(self, reference: str) -> str:
        """The name of a record: an image id, or the normalised name."""
        if match := _IMAGE_ID.fullmatch(reference):
            return f"sha256:{match['hex']}"
        return str(self.names().parse(reference))

    def remove(self, reference: str) -> bool:
        """Remove a record; its content stays until it is collected. False when there was none."""
        image = self.status(reference)
        return image is not None and self.records.remove(image.name)

    def held(self) -> dict[str, Held]:
        """The images for this machine that are here, by id; each document is read once.

        Records whose content was removed behind our back, or is another platform's, have no part.
        """
        matcher = self.platforms(self.platform(None))
        find = cache(lambda target: self.find_here(target, matcher))
        images: dict[str, Held] = {}
        for record in self.records.list():
            with suppress(PullError):
                found = find(record.target)
                image = images.setdefault(found.manifest.config.digest, Held(found))
                image.records.append(record)
        return images

    def reload(self) -> None:
        """Manage the images that somebody else recorded: an id, and the label (IMG-11)."""
        for image_id, image in self.held().items():
            for record in image.records:
                if not MANAGED.items() <= record.labels.items():
                    self.records.put_all((image_id, record.name), record.target)

    def collect(self, wait: Callable[[float], object] | None = None) -> Collected:
        """Remove what no record leads to, as soon as no pull is under way."""
        with self.lease.collecting(wait):
            return self.collector(self).collect()

    def check(self, *, repair: bool = False) -> list[Problem]:
        """The problems of this store (see `check`), as soon as no pull is under way.

        `repair` takes away what is broken, and what is wanted of it comes with the next pull.
        """
        with self.lease.collecting():
            checker = self.checker(self)
            problems = checker.check()
            for problem in problems if repair else ():
                checker.repair(problem)
        return problems

    def unpack(self, reference: str, directory: Path, *, platform: str | None = None) -> Path:
        """Apply the layers of an image that is here to `directory`, which must be new or empty."""
        found = self.here(reference, platform)
        config = self.manifests().config(self.read(found.manifest.config), found.manifest)
        with fresh_directory(directory) as folder:
            self.unpacked.apply(
                folder, self.content, found.manifest, config, lambda layer: None, lambda: None
            )
        return directory

    def export_layout(
        self, reference: str, directory: Path, *, platform: str | None = None
    ) -> Path:
        """Write the image for one platform as an OCI image layout into a new or empty folder."""
        found = self.here(reference, platform)
        layout = self.layout(self.content)
        layout.write(found.descriptor, found.manifest.content, directory, self.name(reference))
        return directory

    def platform(self, text: str | None) -> Platform:
        """The platform asked for: this call's, the configuration's, or this machine's."""
        text = text or self.config.platform
        return Platform.parse(text) if text else Platform.here()

    def here(self, reference: str, platform: str | None) -> Found:
        """Find an image in the store; StoreError when it, or a part of it, isn't there."""
        image = self.status(reference)
        if image is None:
            raise StoreError(f"no image {reference}")
        return self.find_here(image.target, self.platforms(self.platform(platform)))

    def find_here(self, target: Descriptor, matcher: PlatformMatcher) -> Found:
        """Find what was pulled of a target."""
        return self.find(target, matcher.preferring(self.content.has), self.read)

    def read(self, descriptor: Descriptor) -> bytes:
        """A document out of the store."""
        return self.content.read(descriptor.digest, self.config.max_manifest_size)

    def find(
        self,
        target: Descriptor,
        matcher: PlatformMatcher,
        read: Callable[[Descriptor], bytes],
    ) -> Found:
        """Follow indexes from `target` down to the image for the platform.

        `read` brings a document; only those on the way are asked for (IDX-01, IDX-10, IDX-11).
        """
        descriptor = target
        manifests = self.manifests()
        for _ in range(self.config.max_index_depth + 1):
            manifests.check_known(descriptor)
            document = manifests.read(read(descriptor), descriptor)
            if isinstance(document, Manifest):
                return Found(target, descriptor, document)
            descriptor = matcher.choose(document.entries, descriptor.digest)
        raise ManifestError(f"indexes in {target.digest} are nested too deeply")
