"""What a puller left behind, read without trusting it: layouts, stores and archives.

A `Layout` is content by digest with one root, whatever folder holds it: an OCI image layout,
containerd's content store, or skopeo's ``dir:``. Nothing here imports a puller, and each byte
that is reported as present has been hashed.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from conformance.contract import HarnessError
from conformance.tree import Node, Powers, Tree, differences, powers_here, tree_of

__all__ = [
    "Archive",
    "Layout",
    "Node",
    "Powers",
    "Tree",
    "differences",
    "mislabelled",
    "normal_form",
    "powers_here",
    "tree_of",
]

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_REF_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_CHUNK = 1 << 20
_MISSING = "missing"
Form = Literal["oci", "dir"]


def _parts(digest: str) -> tuple[str, str]:
    """Algorithm and hex of a digest; only what can be a path below the store."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise HarnessError(f"not a digest that can be looked up: {digest!r}")
    algorithm, _, value = digest.partition(":")
    return algorithm, value


def _hash_of(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _loads(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise HarnessError(f"{what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise HarnessError(f"{what} is not a JSON object")
    return document


@dataclass(frozen=True)
class Layout:
    """Content by digest, seen from one root.

    Attributes:
        directory: where the blobs are: ``<algorithm>/<hex>`` below it (``form`` ``oci``), or
            ``<hex>`` in it (``form`` ``dir``, where the root is ``manifest.json``).
        root: digest of the manifest or index that the reference resolves to.
    """

    directory: Path
    root: str
    form: Form = "oci"

    @classmethod
    def of_directory(cls, path: Path, reference: str | None = None) -> Layout | None:
        """The image called `reference` in the OCI layout at `path`; None when there is none.

        A layout that holds one image alone, without a name, answers to any reference. Of several
        entries with the same name the last one counts: pullers that append mean the newest.
        Raises `HarnessError` when ``index.json`` can't be read as one.
        """
        index = path / "index.json"
        if not index.is_file():
            return None
        manifests = _loads(index.read_bytes(), str(index)).get("manifests") or []
        forms = {reference, None if reference is None else normal_form(reference)}
        named = [each for each in manifests if forms & _names(each)]
        if not named and len(manifests) == 1 and not _names(manifests[0]):
            named = manifests
        if not named:
            return None
        return cls(path / "blobs", named[-1]["digest"])

    @classmethod
    def of_store(cls, blobs: Path, root: str) -> Layout:
        """The image with the digest `root` in a content store (``<blobs>/<algorithm>/<hex>``)."""
        return cls(blobs, root)

    @classmethod
    def of_dir_transport(cls, path: Path) -> Layout | None:
        """The image in a folder that skopeo's ``dir:`` wrote; None without ``manifest.json``."""
        manifest = path / "manifest.json"
        if not manifest.is_file():
            return None
        return cls(path, "sha256:" + _hash_of(manifest, "sha256"), "dir")

    @classmethod
    def of_archive(cls, archive: Path, into: Path, reference: str | None = None) -> Layout | None:
        """The same for a tar of an OCI layout, such as ``ctr images export`` writes."""
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(into, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise HarnessError(f"{archive} can't be read as a tar: {error}") from None
        return cls.of_directory(into, reference)

    def path(self, digest: str) -> Path:
        """Where the blob would be, whether or not it is there."""
        algorithm, value = _parts(digest)
        if self.form == "dir":
            return self.directory / ("manifest.json" if digest == self.root else value)
        return self.directory / algorithm / value

    def has(self, digest: str) -> bool:
        """Whether a file stands under that digest; `verify` says whether it deserves to."""
        return self.path(digest).is_file()

    def blob(self, digest: str) -> bytes:
        """The blob's bytes. Raises `HarnessError` when it isn't there."""
        try:
            return self.path(digest).read_bytes()
        except OSError as error:
            raise HarnessError(f"{digest} can't be read: {error.strerror}") from None

    def document(self, digest: str) -> dict[str, Any]:
        """The blob as a JSON object."""
        return _loads(self.blob(digest), digest)

    @property
    def images(self) -> list[str]:
        """Digests of the image manifests below the root of which everything is present."""
        return [digest for digest, missing in self._images() if not missing]

    @property
    def manifest_digest(self) -> str:
        """The image manifest: the root itself, or the first complete one below it."""
        # An image without layers is complete with its config, which some fetch of all platforms.
        found = sorted(
            self._images(),
            key=lambda each: (len(each[1]), not self.document(each[0]).get("layers")),
        )
        if not found:
            raise HarnessError(f"{self.root}: no image manifest below it is present")
        return found[0][0]

    @property
    def manifest(self) -> dict[str, Any]:
        """The image manifest that `manifest_digest` names."""
        return self.document(self.manifest_digest)

    @property
    def config_digest(self) -> str:
        """Digest of the image's config: the image id."""
        return str(self.manifest["config"]["digest"])

    @property
    def layer_digests(self) -> list[str]:
        """Digests of the image's layers, bottom first."""
        return [str(layer["digest"]) for layer in self.manifest["layers"]]

    def verify(self) -> list[str]:
        """What is wrong with the content below the root, a line each; empty: every byte is right.

        All that is present must be right. Of the images below an index one has to be complete:
        some pullers keep the manifests and configs of platforms that they did not pull.
        """
        problems = self._check({"digest": self.root}, "root")
        if problems:
            return problems
        absent: list[list[str]] = []
        for descriptor in self._descriptors():
            document = self.document(descriptor["digest"])
            problems += self._check(descriptor, "manifest")
            if _is_index(document):
                continue
            found = [self._check(child, role) for role, child in _children(document)]
            lines = [line for each in found for line in each]
            problems += [line for line in lines if not line.endswith(_MISSING)]
            absent.append([line for line in lines if line.endswith(_MISSING)])
        if not absent:
            problems.append(f"{self.root}: no image manifest below it is present")
        elif all(absent):
            least: list[str] = min(absent, key=len)
            problems += least
        return problems

    def _images(self) -> list[tuple[str, list[str]]]:
        """Each image manifest that is present, with the digests that it lacks."""
        images = []
        for descriptor in self._descriptors():
            document = self.document(descriptor["digest"])
            if not _is_index(document):
                children = [str(child.get("digest")) for _, child in _children(document)]
                images.append((str(descriptor["digest"]), [c for c in children if not self.has(c)]))
        return images

    def _descriptors(self) -> Iterator[Mapping[str, Any]]:
        """The root and every manifest below it that is present; the root first."""
        waiting: list[Mapping[str, Any]] = [{"digest": self.root}]
        seen: set[str] = set()
        while waiting:
            descriptor = waiting.pop(0)
            digest = str(descriptor.get("digest"))
            if digest in seen or not self.has(digest):
                continue
            seen.add(digest)
            yield descriptor
            document = self.document(digest)
            if _is_index(document):
                waiting += document.get("manifests") or ()

    def _check(self, descriptor: Mapping[str, Any], role: str) -> list[str]:
        digest = str(descriptor.get("digest"))
        if _DIGEST.fullmatch(digest) is None:
            return [f"{role} {digest}: not a valid digest"]
        path = self.path(digest)
        if not path.is_file():
            return [f"{role} {digest}: {_MISSING}"]
        size = descriptor.get("size")
        actual = path.stat().st_size
        if size is not None and size != actual:
            return [f"{role} {digest}: {actual} bytes, the descriptor says {size}"]
        found = _hash_of(path, digest.partition(":")[0])
        if found != digest.partition(":")[2]:
            return [f"{role} {digest}: its {actual} bytes have the digest {found}"]
        return []


def _is_index(document: Mapping[str, Any]) -> bool:
    # What it holds decides: what it calls itself may be a case's lie.
    if "config" in document:
        return False
    return isinstance(document.get("manifests"), list) or document.get("mediaType") in _INDEXES


def normal_form(reference: str) -> str:
    """A reference as most pullers write it down: with ``latest``, or with its digest alone."""
    name, at, digest = reference.partition("@")
    head, slash, last = name.rpartition("/")
    repository = head + slash + last.partition(":")[0]
    if at:
        return f"{repository}@{digest}"
    return name if ":" in last else f"{name}:latest"


def _names(descriptor: Mapping[str, Any]) -> set[str]:
    annotations = descriptor.get("annotations") or {}
    return {annotations[key] for key in _REF_NAMES if annotations.get(key)}


def _children(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(manifest.get("config"), dict):
        yield "config", manifest["config"]
    for number, layer in enumerate(manifest.get("layers") or ()):
        yield f"layer {number}", layer


def mislabelled(blobs: Path) -> list[str]:
    """Files in ``<blobs>/<algorithm>/<hex>`` whose content has another digest, a line each."""
    problems = []
    for path in sorted(blobs.glob("*/*")):
        digest = f"{path.parent.name}:{path.name}"
        if _DIGEST.fullmatch(digest) is None or not path.is_file():
            continue
        found = _hash_of(path, path.parent.name)
        if found != path.name:
            problems.append(f"{digest}: {path.stat().st_size} bytes with the digest {found}")
    return problems


@dataclass(frozen=True)
class Archive:
    """A docker-archive tar: what can be verified in it are the config and the diffIDs."""

    path: Path
    config: bytes = field(repr=False)
    diff_ids: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Archive:
        """Read the first image. Raises `HarnessError` when it isn't a docker-archive."""
        try:
            with tarfile.open(path) as tar:
                entry = json.loads(_member(tar, "manifest.json"))[0]
                config = _member(tar, entry["Config"])
                diff_ids = tuple(
                    "sha256:" + hashlib.sha256(_member(tar, name)).hexdigest()
                    for name in entry["Layers"]
                )
        except (tarfile.TarError, OSError, ValueError, LookupError, TypeError) as error:
            raise HarnessError(f"{path} is not a docker-archive: {error}") from None
        return cls(path, config, diff_ids)

    @property
    def image_id(self) -> str:
        """Digest of the config."""
        return "sha256:" + hashlib.sha256(self.config).hexdigest()

    def verify(self) -> list[str]:
        """A line for each layer whose content isn't what the config says of it."""
        declared = tuple(_loads(self.config, "config").get("rootfs", {}).get("diff_ids", ()))
        if len(declared) != len(self.diff_ids):
            return [f"{len(self.diff_ids)} layers, the config says {len(declared)}"]
        pairs = enumerate(zip(declared, self.diff_ids, strict=True))
        return [
            f"layer {number}: diffID {found}, the config says {wanted}"
            for number, (wanted, found) in pairs
            if wanted != found
        ]


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()
