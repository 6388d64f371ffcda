"""Manifests, indexes and configs: read as what they were served as, or refused."""

from __future__ import annotations

import json

from harness import PromiseError, deep_documents, held, odd_documents

from fakeregistry import an_image, an_index
from reference.compat import Quirks
from reference.descriptors import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
)
from reference.errors import IntegrityError, ManifestError
from reference.manifests import Index, Manifest, Manifests
from reference.platforms import Platform, PlatformMatcher

KINDS = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX, OCI_CONFIG)
"""An input's first byte says which of them it is, and from 128 on to read it as containerd does."""
DIGEST = "sha256:" + "0a" * 32
_LAYER = Descriptor(OCI_LAYER, DIGEST, 1)
ONE_LAYER = Manifest(Descriptor(OCI_CONFIG, DIGEST, 1), (_LAYER,))
MATCHER = PlatformMatcher(Platform("linux", "arm64"))
_IMAGE = an_image(1, docker=False, annotations={"a": "b"})
_DOCKER = an_image(1, docker=True)
_DESCRIPTOR = {
    **_LAYER.to_json(),
    "urls": ["https://h.test/"],
    "annotations": {"a": "b"},
    "data": "AA==",
    "platform": {"os": "linux", "architecture": "arm64", "variant": "v8", "os.features": ["x"]},
}
WORDS = [
    *(b'"layers"', b'"config"', b'"manifests"', b'"fsLayers"', b'"mediaType"', b'"digest"'),
    *(b'"size"', b'"urls"', b'"data"', b'"platform"', b'"annotations"', b'"schemaVersion"'),
    *(b"null", b"true", b"-1", b"1e5", b"NaN", b"[", b"]", b"{", b"}", b",", b":", b'"\\ud800"'),
    *(kind.encode() for kind in KINDS),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"sha256:", b'"rootfs"', b'"diff_ids"'),
]
SEEDS = [
    *(bytes([kind]) + text for kind in range(5) for text in (b"", b"{}", b"[]", b"\xff", b"{")),
    *(b"\x00" + text for text in odd_documents(json.loads(_IMAGE.manifest))),
    *(b"\x02" + text for text in odd_documents(json.loads(_DOCKER.manifest))),
    *(b"\x01" + text for text in odd_documents({"schemaVersion": 2, "manifests": [_DESCRIPTOR]})),
    *(b"\x03" + text for text in odd_documents(json.loads(an_index(docker=True).index))),
    *(b"\x04" + text for text in odd_documents(json.loads(_IMAGE.config))),
    *(b"\x00" + text for text in deep_documents('{"mediaType":', "}")),
    *(b"\x00" + text for text in deep_documents('{"config":{"digest":', "}}")),
    *(b"\x00" + text for text in deep_documents('{"config":', "}")),
    *(
        b"\x01" + text
        for text in deep_documents(
            f'{{"manifests":[{{"digest":"{DIGEST}","mediaType":"{OCI_INDEX}","size":1,"platform":',
            "}]}",
        )
    ),
    *(b"\x04" + text for text in deep_documents('{"rootfs":{"type":', "}}")),
    b'\x01{"manifests":[' + b"{}," * 20_000 + b"{}]}",
    b'\x04{"rootfs":{"type":"layers","diff_ids":[' + b"0," * 20_000 + b"0]}}",
    *(b"\x82" + text for text in odd_documents(json.loads(_IMAGE.manifest))),
    b"\x00" + _IMAGE.manifest.decode().encode("utf-16"),
    b"\x00\xef\xbb\xbf" + _IMAGE.manifest,
]


def fuzz_one(data: bytes) -> None:
    """Read a document as the kind that its first byte says."""
    kind = KINDS[data[0] % len(KINDS)] if data else OCI_MANIFEST
    text = data[1:]
    manifests = Manifests()
    manifests.quirks = Quirks.containerd() if data[:1] >= b"\x80" else Quirks()
    with held(data, ManifestError, IntegrityError, steps=(20_000, 150)):
        if kind == OCI_CONFIG:
            config = manifests.config(text, ONE_LAYER)
            if not MATCHER.matches(Platform.from_json(config.platform)):
                MATCHER.choose([], "nothing")
            return
        document = manifests.read(text, Descriptor(kind, DIGEST, len(text)))
        if isinstance(document, Index):
            for entry in MATCHER.candidates(document.entries):
                check_descriptor(entry)
            return
        for layer in (document.config, *document.layers):
            check_descriptor(layer)


def check_descriptor(descriptor: Descriptor) -> None:
    """It means the same to whoever reads what we write of it, and its text can be written."""
    if Descriptor.from_json(json.loads(json.dumps(descriptor.to_json()))) != descriptor:
        raise PromiseError(f"{descriptor} changes by being written")
