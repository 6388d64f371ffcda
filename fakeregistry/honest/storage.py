"""What a registry holds: manifests, tags and blobs per repository, and uploads on their way."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fakeregistry.messages import Buffer, Content

from .room import Room
from .uploads import Uploads

ALGORITHMS = {"sha256": 64, "sha512": 128}
"""The digest algorithms that are checked on push, with the length of their hex."""

PUSHED_LIMIT = 4 << 30
"""How much one registry takes from clients, in bytes: it keeps it all in memory."""

_LONGEST = 256
"""No digest is as long as that."""


def verify(digest: str, data: Buffer) -> bool:
    """Whether data has this digest; False for an algorithm that the registry doesn't know."""
    algorithm, _, value = digest.partition(":")
    if len(value) != ALGORITHMS.get(algorithm, 0):
        return False
    return hashlib.new(algorithm, data).hexdigest() == value


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as it was pushed, byte for byte."""

    data: bytes
    media_type: str
    digest: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object, or an empty one where the bytes are none."""
        try:
            document = json.loads(self.data)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


@dataclass
class Repository:
    """One repository: what it holds by digest, and what its tags point at."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)


class Storage:
    """Thread-safe memory of one registry. Blobs are stored once, whatever repository has them.

    What clients push takes at most `pushed.limit` bytes. `version` grows with every change.
    """

    def __init__(self, limit: int = PUSHED_LIMIT) -> None:
        self.lock = threading.RLock()
        self.version = 0
        self.pushed = Room(limit, "pushed content")
        self.uploads = Uploads(self.pushed)
        self._taken: dict[str, int] = {}
        self._repositories: dict[str, Repository] = {}
        self._blobs: dict[str, Buffer] = {}
        self._configs: set[str] = set()
        self.placed: dict[str, Placed] = {}

    def clear(self) -> None:
        """Forget everything, uploads on their way too."""
        with self.lock:
            for held in (self._repositories, self._blobs, self.placed):
                held.clear()
            self._configs.clear()
            self.uploads.clear()
            self.pushed.give(sum(self._taken.values()))
            self._taken.clear()
            self.version += 1

    def touch(self) -> None:
        """Let what was remembered of answers be forgotten."""
        with self.lock:
            self.version += 1

    def repositories(self) -> list[str]:
        """Return the names of the repositories, sorted."""
        with self.lock:
            return sorted(self._repositories)

    def repository(self, name: str) -> Repository | None:
        """Return a repository, or None."""
        return self._repositories.get(name)

    def _create(self, name: str) -> Repository:
        return self._repositories.setdefault(name, Repository())

    # blobs

    def put_blob(self, name: str, digest: str, data: Buffer) -> None:
        """Store a blob under a digest, which nobody checks here."""
        with self.lock:
            self._create(name).blobs.add(digest)
            self._blobs[digest] = data
            self.version += 1

    def push_blob(self, name: str, digest: str, data: Buffer) -> None:
        """Store a blob as a client pushed it; raises FullError."""
        with self.lock:
            self._take(digest, len(data))
            self.put_blob(name, digest, data)

    def push_manifest(self, name: str, manifest: Manifest, *tags: str) -> None:
        """Store a manifest as a client pushed it; raises FullError."""
        with self.lock:
            self._take(manifest.digest, len(manifest.data))
            self.put_manifest(name, manifest, *tags)

    def _take(self, digest: str, size: int) -> None:
        if digest not in self._taken:
            self.pushed.take(size)
            self._taken[digest] = size

    def _give(self, digest: str) -> None:
        """Forget bytes that no repository has any more."""
        holders = self._repositories.values()
        if not any(digest in holder.blobs or digest in holder.manifests for holder in holders):
            self._blobs.pop(digest, None)
            self.pushed.give(self._taken.pop(digest, 0))

    def blob(self, name: str, digest: str) -> Buffer | None:
        """Return a blob of this repository, or None."""
        with self.lock:
            repository = self._repositories.get(name)
            if repository is None or digest not in repository.blobs:
                return None
            return self._blobs.get(digest)

    def delete_blob(self, name: str, digest: str) -> bool:
        """Remove a blob from a repository; False where it isn't there."""
        with self.lock:
            repository = self._repositories.get(name)
            if repository is None or digest not in repository.blobs:
                return False
            repository.blobs.discard(digest)
            self._give(digest)
            self.version += 1
            return True

    def mark_config(self, digest: str) -> None:
        """Know a blob as an image's configuration, whatever the manifest says."""
        with self.lock:
            self._configs.add(digest)
            self.version += 1

    def is_config(self, digest: str) -> bool:
        """Whether some manifest here names this digest as its configuration."""
        return digest in self._configs

    # manifests

    def put_manifest(self, name: str, manifest: Manifest, *tags: str | None) -> None:
        """Store a manifest under its digest, and point tags at it (None: no tag)."""
        config = manifest.document.get("config")
        with self.lock:
            repository = self._create(name)
            repository.manifests[manifest.digest] = manifest
            repository.tags.update({tag: manifest.digest for tag in tags if tag is not None})
            digest = config.get("digest") if isinstance(config, dict) else None
            if isinstance(digest, str) and len(digest) < _LONGEST:
                self._configs.add(digest)
            self.version += 1

    def resolve(self, name: str, reference: str) -> str | None:
        """Return the digest that a tag points at, or a digest as it is; None without the tag."""
        if ":" in reference:
            return reference
        with self.lock:
            repository = self._repositories.get(name)
            return None if repository is None else repository.tags.get(reference)

    def manifest(self, name: str, reference: str) -> Manifest | None:
        """Return a manifest by tag or digest, or None."""
        with self.lock:
            repository = self._repositories.get(name)
            digest = self.resolve(name, reference)
            if repository is None or digest is None:
                return None
            return repository.manifests.get(digest)

    def delete_manifest(self, name: str, reference: str) -> bool:
        """Remove a tag, or a manifest with its tags; False where there is none."""
        with self.lock:
            repository = self._repositories.get(name)
            if repository is None:
                return False
            self.version += 1
            if ":" not in reference:
                return repository.tags.pop(reference, None) is not None
            if repository.manifests.pop(reference, None) is None:
                return False
            for tag in [tag for tag, digest in repository.tags.items() if digest == reference]:
                del repository.tags[tag]
            self._give(reference)
            return True

    def referrers(self, name: str, digest: str) -> Iterator[Manifest]:
        """Yield the manifests of a repository whose subject is this digest."""
        with self.lock:
            repository = self._repositories.get(name)
            manifests = list(repository.manifests.values()) if repository else []
        for manifest in manifests:
            subject = manifest.document.get("subject")
            if isinstance(subject, dict) and subject.get("digest") == digest:
                yield manifest

    # whatever repository has it

    def find(self, digest: str) -> Content | None:
        """Return an object by its digest, manifest or blob; None where there is none."""
        with self.lock:
            for repository in self._repositories.values():
                if digest in repository.manifests:
                    manifest = repository.manifests[digest]
                    return Content(manifest.data, manifest.media_type, digest)
            data = self._blobs.get(digest)
        return None if data is None else Content(data, "application/octet-stream", digest)

    # objects that other hosts send clients to

    def place(self, path: str, placed: Placed) -> None:
        """Serve an object at a path, without authentication."""
        with self.lock:
            self.placed[path] = placed
            self.version += 1


@dataclass(frozen=True)
class Placed:
    """An object at a path of its own: the target of a redirect, or a layer's foreign URL.

    `signed`: only who has a signed URL gets it. `location`: no object, but a redirect further on,
    with its status.
    """

    data: Buffer
    media_type: str
    digest: str | None
    kind: str = "redirect_target"
    docker_digest: bool = False
    signed: bool = False
    location: tuple[int, str] | None = None
