"""Schema 1 manifests: converted into an image that can be read, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any, BinaryIO, cast

from harness import deep_documents, held, odd_documents

from fakeregistry import Layer, an_image
from fakeregistry.content import EMPTY_LAYER, HistoryEntry, Schema1Spec
from reference.descriptors import SCHEMA1, SCHEMA1_SIGNED, Descriptor, digest_of
from reference.errors import IntegrityError, ManifestError
from reference.manifests import Manifest, Manifests
from reference.schema1 import Schema1Converter, payload
from reference.store import Store

_IMAGE = an_image(2)
_STEPS = (
    HistoryEntry(_IMAGE.layers[0], author="me", comment="first"),
    HistoryEntry(throwaway=True, command=("CMD",)),
    HistoryEntry(_IMAGE.layers[1], size=3),
)
_SPEC = Schema1Spec(_IMAGE, steps=_STEPS)
_PLAIN = Schema1Spec(_IMAGE, steps=_STEPS, signature="none")
BLOBS = {
    digest_of(blob): bytes(blob)
    for blob in (EMPTY_LAYER, *(cast("Layer", layer).blob for layer in _IMAGE.layers))
}
_HISTORY = {
    "created": "2020-01-02T03:04:05.6Z",
    "author": "me",
    "comment": "c",
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "os.version": "1",
    "os.features": ["x"],
    "throwaway": False,
    "Size": 1,
    "container_config": {"Cmd": ["sh", "-c"]},
    "config": {
        "User": "u",
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["A=b"],
        "Entrypoint": ["/x"],
        "Cmd": ["y"],
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Labels": {"a": "b"},
        "StopSignal": "TERM",
        "ArgsEscaped": True,
    },
}


def one_step(history: bytes) -> bytes:
    """An unsigned manifest with one layer and that history."""
    return json.dumps(
        {
            "schemaVersion": 1,
            "fsLayers": [{"blobSum": next(reversed(BLOBS))}],
            "history": [{"v1Compatibility": history.decode()}],
        }
    ).encode()


WORDS = [
    *(b'"fsLayers"', b'"history"', b'"blobSum"', b'"v1Compatibility"', b'"signatures"'),
    *(b'"protected"', b"formatLength", b"formatTail", b'\\"created\\"', b'\\"Cmd\\"', b'\\"config'),
    *(b"throwaway", b"Size", b"null", b"true", b"-1", b"[", b"]", b"{", b"}", b"\\u0000", b"\\ud8"),
    *(digest.encode() for digest in BLOBS),
]
SEEDS = [
    *(b"\x00" + text for text in odd_documents(json.loads(_PLAIN.manifest))),
    *(b"\x00" + one_step(text) for text in odd_documents(_HISTORY)),
    *(b"\x00" + one_step(text) for text in deep_documents('{"config":{"Labels":', "}}")),
    *(b"\x00" + one_step(text) for text in deep_documents('{"container_config":{"Cmd":[', "]}}")),
    *(b"\x00" + text for text in deep_documents('{"fsLayers":', "}")),
    b"\x01" + _SPEC.manifest,
    *(b"\x01" + text for text in odd_documents(json.loads(_SPEC.manifest))),
    *(
        b"\x01" + Schema1Spec(_IMAGE, protected=protected).manifest
        for protected in ({"formatLength": -1}, {"formatTail": 5}, {"formatLength": 1e5})
    ),
    *(b"\x01" + text for text in deep_documents('{"signatures":', "}")),
    *(b"\x00" + one_step(b'{"created":"%s"}' % text) for text in (b"2020-13-41T25:61:61Z", b"x")),
]


class Blobs:
    """A store in memory, with the blobs of `BLOBS`."""

    def __init__(self) -> None:
        self.blobs = dict(BLOBS)

    def put(self, media_type: str, data: bytes) -> Descriptor:
        """Keep it."""
        descriptor = Descriptor.of(media_type, data)
        self.blobs[descriptor.digest] = data
        return descriptor

    def open(self, digest: str) -> BinaryIO:
        """Read it."""
        return BytesIO(self.blobs[digest])


def convert(document: bytes, media_type: str) -> None:
    """Convert a manifest, and read what came out."""
    store: Any = Blobs()

    def describe(media_type: str, digest: str) -> Descriptor:
        if digest not in BLOBS:
            raise ManifestError("there is no such blob")
        return Descriptor(media_type, digest, len(BLOBS[digest]))

    def fetch_all(descriptors: Iterable[Descriptor]) -> None:
        list(descriptors)

    converter = Schema1Converter(cast("Store", store), describe, fetch_all)
    digest = digest_of(payload(document, media_type))
    made = converter.convert(document, Descriptor(media_type, digest, len(document)))
    manifests = Manifests()
    manifest = manifests.read(store.blobs[made.digest], made)
    assert isinstance(manifest, Manifest)
    manifests.config(store.blobs[manifest.config.digest], manifest)


def fuzz_one(data: bytes) -> None:
    """Convert a signed or an unsigned manifest, as its first byte says."""
    media_type = SCHEMA1_SIGNED if data[:1] == b"\x01" else SCHEMA1
    with held(data, ManifestError, IntegrityError, steps=(30_000, 100)):
        convert(data[1:], media_type)
