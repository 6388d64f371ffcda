"""Writing an image as an OCI image layout (image-spec `image-layout.md`)."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reference.descriptors import ALGORITHMS, OCI_INDEX, Descriptor
from reference.output import fresh_directory
from reference.store import Store, disk, sync_directory

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})


class LayoutWriter:
    """Exports images of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(
        self, manifest: Descriptor, content: Iterable[Descriptor], directory: Path, name: str
    ) -> None:
        """Write the image of `manifest`, whose config and layers are `content`, to `directory`.

        `name` is its complete reference. The folder must not exist or be empty; it appears when all
        of it is written. Blobs are hard links to those of the store where the file system can.
        """
        with fresh_directory(directory) as folder, disk(f"cannot write a layout to {directory}"):
            blobs = folder / "blobs"
            for algorithm in ALGORITHMS:
                (blobs / algorithm).mkdir(parents=True)
            unique = {descriptor.digest for descriptor in (manifest, *content)}
            for digest in sorted(unique):
                self.place(self._store.path(digest), blobs / Path(*digest.split(":")))
            for algorithm in ALGORITHMS:
                used = any((blobs / algorithm).iterdir())
                sync_directory(blobs / algorithm) if used else (blobs / algorithm).rmdir()
            sync_directory(blobs)
            self.write_json(folder / "oci-layout", {"imageLayoutVersion": "1.0.0"})
            self.write_json(folder / "index.json", self.index(manifest, name))
            sync_directory(folder)

    def place(self, source: Path, target: Path) -> None:
        """Have the blob in the layout too: as a link, or as a copy where links can't reach."""
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copyfile(source, target)
            with open(target, "rb+") as copy:
                os.fsync(copy.fileno())

    def index(self, manifest: Descriptor, name: str) -> dict[str, Any]:
        """The layout's index.json: one entry, with the tag (or digest) and the complete name."""
        repository, at, digest = name.partition("@")
        tag = digest if at else repository.rpartition(":")[2]
        entry = replace(manifest, annotations={REF_NAME: tag, IMAGE_NAME: name}, urls=(), data=None)
        return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.to_json()]}

    def write_json(self, path: Path, document: dict[str, Any]) -> None:
        """Write and sync one of the layout's own documents."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
