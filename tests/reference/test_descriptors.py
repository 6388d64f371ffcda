"""Descriptors are read strictly: a digest becomes a path, a size switches a check on."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import descriptors
from reference.descriptors import Descriptor, check_digest, digest_of, is_digest, is_layer_type
from reference.errors import InvalidDescriptor

GOOD = {"mediaType": descriptors.OCI_LAYER_GZIP, "digest": digest_of(b"x"), "size": 1}


def test_all_fields_are_read() -> None:
    document: dict[str, Any] = {
        **GOOD,
        "urls": ["https://example.test/x"],
        "annotations": {"a": "b"},
        "data": base64.b64encode(b"x").decode(),
        "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
        "artifactType": "ignored",
    }
    read = Descriptor.from_json(document)
    assert read.media_type == descriptors.OCI_LAYER_GZIP
    assert (read.digest, read.size, read.data) == (GOOD["digest"], 1, b"x")
    assert read.urls == ("https://example.test/x",)
    assert read.annotations == {"a": "b"}
    assert read.platform == {"os": "linux", "architecture": "arm64", "variant": "v8"}
    del document["artifactType"]
    assert read.to_json() == document
    assert hash(read) == hash(Descriptor.from_json(json.loads(json.dumps(document))))


@pytest.mark.parametrize("size", [-1, True, False, 1.0, "1", None, [], 1e3])
def test_a_size_that_could_switch_the_check_off_is_refused(size: object) -> None:
    """BLOB-30, Q-34"""
    with pytest.raises(InvalidDescriptor, match="size"):
        Descriptor.from_json({**GOOD, "size": size})


def test_a_missing_size_is_refused() -> None:
    with pytest.raises(InvalidDescriptor, match="size"):
        Descriptor.from_json({"mediaType": "a/b", "digest": GOOD["digest"]})


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "digest",
    [
        None,
        "",
        7,
        "sha256:",
        "sha256:../../x",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha512:{HEX}",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"SHA256:{HEX}",
        f"md5:{HEX[:32]}",
        f"sha256+b64:{HEX}",
        "foo:bar",
        f"sha256:{HEX[:-1]}\u0661",
    ],
)
def test_what_is_not_a_digest_is_refused(digest: object) -> None:
    assert not is_digest(digest)
    with pytest.raises(InvalidDescriptor, match="digest"):
        Descriptor.from_json({**GOOD, "digest": digest})


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": None},
        {"mediaType": ""},
        {"mediaType": "text"},
        {"mediaType": "a/b; charset=utf-8"},
        {"mediaType": "a/\nb"},
        {"urls": "https://x"},
        {"urls": [1]},
        {"annotations": []},
        {"annotations": {"a": 1}},
        {"data": "***"},
        {"data": 1},
        {"platform": "linux"},
    ],
)
def test_fields_of_a_wrong_kind_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidDescriptor):
        Descriptor.from_json({**GOOD, **change})


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_what_is_not_an_object_is_refused(document: object) -> None:
    with pytest.raises(InvalidDescriptor):
        Descriptor.from_json(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


FIELDS = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)))
def test_any_document_is_read_or_refused_and_nothing_else(document: dict[str, Any]) -> None:
    for candidate in (document, {**GOOD, **document}):
        try:
            read = Descriptor.from_json(candidate)
        except InvalidDescriptor:
            continue
        assert Descriptor.from_json(read.to_json()) == read


@given(st.binary(max_size=64), st.sampled_from(["sha256", "sha512"]))
def test_digest_helpers_agree_with_hashlib(data: bytes, algorithm: str) -> None:
    digest = digest_of(data, algorithm)
    assert digest == f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    assert check_digest(digest) == digest
    assert descriptors.algorithm_of(digest) == algorithm
    hasher = descriptors.hasher_for(digest)
    hasher.update(data)
    assert hasher.hexdigest() == descriptors.encoded_of(digest)
    assert Descriptor.of("a/b", data, algorithm) == Descriptor("a/b", digest, len(data))


@pytest.mark.parametrize(
    ("media_type", "layer", "foreign"),
    [
        (descriptors.OCI_LAYER, True, False),
        (descriptors.OCI_LAYER_ZSTD, True, False),
        (descriptors.OCI_LAYER + "+xz", True, False),
        ("application/vnd.oci.image.layer.v1.squashfs", True, False),
        (descriptors.OCI_FOREIGN_LAYER + "+gzip", True, True),
        (descriptors.DOCKER_LAYER, True, False),
        (descriptors.DOCKER_LAYER_GZIP, True, False),
        (descriptors.DOCKER_FOREIGN_LAYER_GZIP, True, True),
        (descriptors.DOCKER_LAYER_GZIP + "+encrypted", True, False),
        (descriptors.OCI_CONFIG, False, False),
        ("application/x", False, False),
    ],
)
def test_which_types_are_layers(media_type: str, layer: bool, foreign: bool) -> None:
    """LAYER-07, ENC-02"""
    assert is_layer_type(media_type) is layer
    assert descriptors.is_foreign_type(media_type) is foreign
