"""Docker's image manifest version 2, schema 1: turned into an OCI manifest and config.

Such a manifest has no config and no sizes, lists its layers newest first, and keeps the history as
JSON strings inside JSON. The result is that of containerd's converter, to the byte. The manifest is
held to the digest that it was asked for by; its signature says nothing about who made it (the key
comes with it), so it isn't looked at.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reference import gojson
from reference.decompress import Decompressor
from reference.descriptors import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_MANIFEST,
    SCHEMA1,
    Descriptor,
    check_digest,
    digest_of,
    hasher_for,
)
from reference.errors import DigestMismatch, ManifestError
from reference.manifests import Manifests
from reference.store import Store

_TEXT: tuple[str, ...] = ("author", "architecture", "variant", "os", "os.version")


@dataclass(frozen=True)
class _Layer:
    """What is known of a layer's blob once it is here."""

    diff_id: str
    empty: bool
    descriptor: Descriptor | None = None


def signed_payload(document: bytes) -> bytes:
    """The bytes that a signed manifest's digest is over: without the signatures.

    The first signature's protected header says how many bytes to keep and how they end.
    """
    try:
        protected = json.loads(document)["signatures"][0]["protected"]
        header = json.loads(_base64url(protected))
        length, tail = header["formatLength"], _base64url(header["formatTail"])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ManifestError("the schema 1 manifest has no readable signatures") from None
    if isinstance(length, bool) or not isinstance(length, int) or not 0 <= length <= len(document):
        raise ManifestError("the schema 1 manifest's signature covers more than the manifest")
    return document[:length] + tail


def payload(document: bytes, media_type: str) -> bytes:
    """What the digest of a schema 1 manifest is over; an unsigned one is its own payload."""
    return document if media_type == SCHEMA1 else signed_payload(document)


class Schema1Converter:
    """Converts one image.

    `describe` finds out a blob's size, `fetch_all` brings blobs into the store.
    """

    def __init__(
        self,
        store: Store,
        describe: Callable[[str, str], Descriptor],
        fetch_all: Callable[[Iterable[Descriptor]], object],
    ) -> None:
        self.store = store
        self.describe = describe
        self.fetch_all = fetch_all
        self.manifests = Manifests()
        self.decompressor = Decompressor()

    def convert(self, document: bytes, descriptor: Descriptor) -> Descriptor:
        """Fetch the layers, store a manifest and a config, and describe the manifest."""
        data = payload(document, descriptor.media_type)
        self.verify(data, descriptor)
        blobs, entries = self.read(data, descriptor.digest)
        layers = self.layers(blobs, entries)
        history, used = self.history(blobs, entries, layers)
        config = gojson.marshal_indent(self.config(entries[0], history, used))
        manifest = {
            "schemaVersion": 2,
            "config": self.store.put(OCI_CONFIG, config).to_json(),
            "layers": [layer.descriptor.to_json() for layer in used if layer.descriptor],
        }
        return self.store.put(OCI_MANIFEST, gojson.marshal_indent(manifest))

    def verify(self, data: bytes, descriptor: Descriptor) -> None:
        """The payload must have the digest that it was asked for by."""
        actual = digest_of(data, descriptor.digest.partition(":")[0])
        if actual != descriptor.digest:
            raise DigestMismatch(f"schema 1 manifest has digest {actual}, not {descriptor.digest}")

    def read(self, data: bytes, digest: str) -> tuple[list[str], list[dict[str, Any]]]:
        """Blob digests and history entries, both newest first and of one length (S1-09)."""
        document = self.manifests.parse(data, digest)
        if document.get("layers") or document.get("manifests") or document.get("config"):
            raise ManifestError(f"{digest}: expected schema 1 document but found extra keys")
        try:
            blobs = [check_digest(layer["blobSum"]) for layer in document.get("fsLayers") or []]
            texts = [entry["v1Compatibility"] for entry in document.get("history") or []]
            entries = [self.manifests.parse(text, f"history of {digest}") for text in texts]
        except (LookupError, TypeError, AttributeError):
            raise ManifestError(f"{digest}: fsLayers or history can't be read") from None
        if len(blobs) != len(entries):
            raise ManifestError(f"{digest}: invalid schema 1 manifest, history and layer mismatch")
        if not entries:
            raise ManifestError(f"{digest}: no history")
        return blobs, entries

    def layers(self, blobs: list[str], entries: list[dict[str, Any]]) -> dict[str, _Layer]:
        """Fetch every blob once and look inside; known empty ones aren't fetched (S1-12, S1-14)."""
        first = dict(reversed(list(zip(blobs, entries, strict=True))))
        wanted = [blob for blob, entry in first.items() if not self.is_empty(entry)]
        described = [self.describe(DOCKER_LAYER_GZIP, blob) for blob in wanted]
        self.fetch_all(described)
        layers = {blob: _Layer("", empty=True) for blob in first}
        for descriptor in described:
            layers[descriptor.digest] = self.inspect(descriptor)
        return layers

    def is_empty(self, entry: Mapping[str, Any]) -> bool:
        """Whether history says that the layer is empty: `throwaway`, or else a Size of 0."""
        throwaway = entry.get("throwaway")
        if isinstance(throwaway, bool):
            return throwaway
        size = entry.get("Size")
        return isinstance(size, int) and not isinstance(size, bool) and size == 0

    def inspect(self, descriptor: Descriptor) -> _Layer:
        """The diff id of a blob; one with nothing but zeros inside is an empty layer (S1-13)."""
        hasher = hasher_for("sha256:" + "0" * 64)
        empty = True
        with self.store.open(descriptor.digest) as blob:
            for chunk in self.decompressor.stream(blob, descriptor.media_type):
                hasher.update(chunk)
                empty = empty and not chunk.strip(b"\0")
        diff_id = f"sha256:{hasher.hexdigest()}"
        # Uncompressed, the two digests are the same (S1-16).
        kind = DOCKER_LAYER if diff_id == descriptor.digest else DOCKER_LAYER_GZIP
        return _Layer(diff_id, empty, Descriptor(kind, descriptor.digest, descriptor.size))

    def history(
        self, blobs: list[str], entries: list[dict[str, Any]], layers: Mapping[str, _Layer]
    ) -> tuple[list[dict[str, Any]], list[_Layer]]:
        """The OCI history and the layers that count, both oldest first (S1-11, S1-18)."""
        history: list[dict[str, Any]] = []
        used: list[_Layer] = []
        for blob, entry in reversed(list(zip(blobs, entries, strict=True))):
            layer = layers[blob]
            command = _strings("Cmd", _object(entry, "container_config").get("Cmd") or [])
            created = _time(entry) or gojson.ZERO_TIME
            item = {
                "created": created,
                "created_by": " ".join(command),
                "author": _text(entry, "author"),
                "comment": _text(entry, "comment"),
                "empty_layer": layer.empty,
            }
            history.append({name: value for name, value in item.items() if value})
            if not layer.empty:
                used.append(layer)
        return history, used

    def config(
        self, newest: Mapping[str, Any], history: list[dict[str, Any]], used: list[_Layer]
    ) -> dict[str, Any]:
        """The image's config: the newest entry's fields that OCI knows, in Go's order (S1-17)."""
        config: dict[str, Any] = {}
        if created := _time(newest):
            config["created"] = created
        for name in _TEXT:
            value = _text(newest, name)
            if value or name in ("architecture", "os"):
                config[name] = value
        if features := newest.get("os.features"):
            config["os.features"] = _strings("os.features", features)
        config["config"] = run_config(_object(newest, "config"))
        config["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in used]}
        config["history"] = history
        return config


def run_config(source: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that says how to run the image: known fields, empty ones left out."""
    kinds: dict[str, type] = {
        "User": str,
        "ExposedPorts": dict,
        "Env": list,
        "Entrypoint": list,
        "Cmd": list,
        "Volumes": dict,
        "WorkingDir": str,
        "Labels": dict,
        "StopSignal": str,
        "ArgsEscaped": bool,
    }
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        value = source.get(name)
        if value is None:
            continue
        if not isinstance(value, kind):
            raise ManifestError(f"{name} in a schema 1 config is not a {kind.__name__}")
        if isinstance(value, list):
            value = _strings(name, value)
        if isinstance(value, dict):
            empty = name in ("ExposedPorts", "Volumes")
            if not empty:
                _strings(name, list(value.values()))
            value = {key: {} if empty else value[key] for key in sorted(value)}
        if value:
            found[name] = value
    return found


def _strings(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ManifestError(f"{name} in a schema 1 config is not of strings")
    return value


def _base64url(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError(str(error)) from None


def _object(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestError(f"{name} in a schema 1 history entry is not an object")
    return value


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise ManifestError(f"{name} in a schema 1 history entry is not a string")
    return value or ""


def _time(entry: Mapping[str, Any]) -> str:
    value = _text(entry, "created")
    try:
        return gojson.time(value) if value else ""
    except ValueError as error:
        raise ManifestError(f"created in a schema 1 history entry: {error}") from None
