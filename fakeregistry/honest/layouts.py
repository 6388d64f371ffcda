"""Serves an existing OCI image layout (image-spec, "OCI Image Layout"): a folder with index.json.

Blobs stay in their files, mapped into memory. Manifests are checked against their digests, blobs
against their sizes: a layout that isn't sound is refused, never served as it is.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fakeregistry.messages import Buffer
from fakeregistry.registry import Registry

from .routes import DIGEST, TAG, valid_name
from .storage import Manifest, verify

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""Annotations that name a manifest, the fuller one first (containerd's and the image-spec's)."""
_DEEPEST = 16
"""How deep indexes may be nested: an index can't hold itself, but a folder can be made to lie."""


class LayoutError(ValueError):
    """A folder that isn't a sound OCI layout. One line."""


@dataclass(frozen=True)
class LaidOut:
    """A manifest or index of a layout, at its place in a registry."""

    registry: Registry
    repository: str
    tag: str | None
    digest: str
    media_type: str
    platforms: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Host and port of the registry, as they stand in a reference."""
        return self.registry.host

    @property
    def reference(self) -> str:
        """The reference by tag; without one, by digest."""
        name = f"{self.host}/{self.repository}"
        return f"{name}@{self.digest}" if self.tag is None else f"{name}:{self.tag}"

    @property
    def by_digest(self) -> str:
        """The reference by digest."""
        return f"{self.host}/{self.repository}@{self.digest}"


class _Entry(NamedTuple):
    repository: str | None
    tag: str | None
    manifest: Manifest


class Layout:
    """A layout that was read and found sound. Raises LayoutError where it isn't."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifests: dict[str, Manifest] = {}
        self._blobs: dict[str, Buffer] = {}
        self._configs: set[str] = set()
        marker = self._document("oci-layout", self._read(Path("oci-layout")))
        if marker.get("imageLayoutVersion") != "1.0.0":
            raise self._error("oci-layout: imageLayoutVersion isn't 1.0.0")
        index = self._document("index.json", self._read(Path("index.json")))
        self.entries = [self._entry(one) for one in _descriptors(index, "manifests")]
        if not self.entries:
            raise self._error("index.json names no manifest")
        if len(self.entries) == 1 and self.entries[0][:2] == (None, None):
            self.entries = [_Entry(None, "latest", self.entries[0].manifest)]

    def place(self, registry: Registry) -> list[LaidOut]:
        """Serve the layout from a registry; return what was named, by repository and tag.

        A manifest without a name is served by its digest, in every repository that the layout
        names, or else in one that is called like the folder; a single one is `latest`.
        """
        named = dict.fromkeys(entry.repository for entry in self.entries if entry.repository)
        default = _repository_of(self.folder)
        everywhere = list(named) or [default]
        placed = []
        for entry in self.entries:
            unnamed = entry.repository is None and entry.tag is None
            for name in everywhere if unnamed else [entry.repository or default]:
                self._put(registry, name, entry.manifest, entry.tag)
                placed.append(
                    LaidOut(
                        registry,
                        name,
                        entry.tag,
                        entry.manifest.digest,
                        entry.manifest.media_type,
                        tuple(_platforms(entry.manifest.document)),
                    )
                )
        return placed

    def _put(self, registry: Registry, name: str, manifest: Manifest, tag: str | None) -> None:
        registry.storage.put_manifest(name, manifest, tag)
        document = manifest.document
        for child in _descriptors(document, "manifests"):
            if child["digest"] in self._manifests:
                self._put(registry, name, self._manifests[child["digest"]], None)
        for one in _parts(document):
            if one["digest"] in self._blobs:
                registry.storage.put_blob(name, one["digest"], self._blobs[one["digest"]])

    # reading

    def _entry(self, descriptor: Mapping[str, Any]) -> _Entry:
        manifest = self._load(descriptor, 0)
        if manifest is None:
            raise self._error(f"{descriptor['digest']} of index.json isn't there")
        annotations = descriptor.get("annotations")
        said = annotations if isinstance(annotations, dict) else {}
        name = next((str(said[key]) for key in _NAMES if said.get(key)), "")
        return _Entry(*_name_and_tag(name), manifest)

    def _load(self, descriptor: Mapping[str, Any], depth: int) -> Manifest | None:
        """Read a manifest and all below it; None where it isn't there."""
        digest = descriptor["digest"]
        if digest in self._manifests:
            return self._manifests[digest]
        data = self._blob(descriptor)
        if data is None:
            return None
        if not verify(digest, data):
            raise self._error(f"{digest}: the content has another digest")
        if depth > _DEEPEST:
            raise self._error(f"{digest}: indexes are nested deeper than {_DEEPEST}")
        document = self._document(digest, bytes(data))
        media_type = descriptor.get("mediaType") or document.get("mediaType")
        manifest = Manifest(bytes(data), str(media_type or "application/octet-stream"), digest)
        for child in _descriptors(document, "manifests"):
            self._load(child, depth + 1)
        for part in _parts(document):
            blob = self._blob(part)
            if blob is not None:
                self._blobs[part["digest"]] = blob
            elif not part.get("urls"):
                raise self._error(f"{part['digest']}, which {digest} needs, isn't there")
        self._manifests[digest] = manifest
        return manifest

    def _blob(self, descriptor: Mapping[str, Any]) -> Buffer | None:
        digest = descriptor["digest"]
        if digest in self._blobs:
            return self._blobs[digest]
        if not DIGEST.fullmatch(digest):
            raise self._error(f"{digest!r} is no digest")
        path = Path("blobs", *digest.split(":", 1))
        if not (self.folder / path).is_file():
            return None
        data = self._map(path)
        if len(data) != descriptor.get("size"):
            raise self._error(f"{digest}: {len(data)} bytes, not {descriptor.get('size')}")
        return data

    def _read(self, path: Path) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except OSError as error:
            raise self._error(f"can't read {path}: {error.strerror}") from None

    def _map(self, path: Path) -> Buffer:
        try:
            with (self.folder / path).open("rb") as file:
                if not file.seek(0, 2):
                    return b""
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise self._error(f"can't read {path}: {error.strerror}") from None

    def _document(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._error(f"{name} is no JSON object")
        return document

    def _error(self, message: str) -> LayoutError:
        return LayoutError(f"{self.folder}: {message}")


def _descriptors(document: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    given = document.get(key)
    for one in given if isinstance(given, list) else [given]:
        if isinstance(one, dict) and isinstance(one.get("digest"), str):
            yield one


def _parts(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in ("config", "layers", "blobs"):
        yield from _descriptors(document, key)


def _platforms(document: Mapping[str, Any]) -> Iterator[str]:
    for child in _descriptors(document, "manifests"):
        given = child.get("platform")
        if isinstance(given, dict):
            words = (given.get(key) for key in ("os", "architecture", "variant"))
            yield "/".join(str(word) for word in words if word)


def _name_and_tag(name: str) -> tuple[str | None, str | None]:
    """A repository and a tag from an annotation: `v1`, `app/web:v1`, `example.com/app/web:v1`."""
    if TAG.fullmatch(name):
        return None, name
    path = name.partition("@")[0]
    head, slash, rest = path.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        path = rest
    repository, _, tag = path.partition(":")
    if not valid_name(repository):
        return None, None
    return repository, tag if TAG.fullmatch(tag) else None


def _repository_of(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return name if valid_name(name) else "layout"
