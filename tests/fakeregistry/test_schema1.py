"""Schema 1 manifests, checked the way libtrust and the converters read them."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from fakeregistry.content import (
    EMPTY_LAYER,
    HistoryEntry,
    Schema1Spec,
    a_layer,
    a_schema1_image,
    an_image,
    digest_of,
    salted,
)


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def stripped(manifest: bytes) -> bytes:
    """The payload, found as a reader finds it: by formatLength and formatTail."""
    head = json.loads(unbase64(json.loads(manifest)["signatures"][0]["protected"]))
    return manifest[: head["formatLength"]] + unbase64(head["formatTail"])


def verify(manifest: bytes) -> None:
    signature = json.loads(manifest)["signatures"][0]
    jwk = signature["header"]["jwk"]
    x, y = (int.from_bytes(unbase64(jwk[axis]), "big") for axis in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    raw = unbase64(signature["signature"])
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    payload = base64.urlsafe_b64encode(stripped(manifest)).rstrip(b"=")
    key.verify(der, signature["protected"].encode() + b"." + payload, ec.ECDSA(SHA256()))


def test_a_signed_manifest_verifies_and_is_named_by_its_payload() -> None:
    spec = a_schema1_image()

    verify(spec.manifest)
    assert spec.digest == digest_of(stripped(spec.manifest)) != digest_of(spec.manifest)
    assert spec.media_type == "application/vnd.docker.distribution.manifest.v1+prettyjws"


def test_a_bad_signature_leaves_the_digest_alone() -> None:
    spec = a_schema1_image(signature="bad")

    assert spec.digest == a_schema1_image().digest
    with pytest.raises(InvalidSignature):
        verify(spec.manifest)


def test_an_unsigned_manifest_has_its_own_type() -> None:
    spec = a_schema1_image(signed=False)

    assert "signatures" not in json.loads(spec.manifest)
    assert spec.digest == digest_of(spec.manifest)
    assert spec.media_type == "application/vnd.docker.distribution.manifest.v1+json"


def test_the_newest_layer_comes_first() -> None:
    spec = a_schema1_image(3)
    doc = json.loads(spec.manifest)
    history = [json.loads(entry["v1Compatibility"]) for entry in doc["history"]]

    assert [x["blobSum"] for x in doc["fsLayers"]] == [x.digest for x in reversed(spec.layers)]
    assert [entry.get("parent") for entry in history] == [history[1]["id"], history[2]["id"], None]
    assert (history[0]["os"], "os" in history[1]) == ("linux", False)


def test_throwaway_steps_share_the_empty_blob() -> None:
    spec = a_schema1_image(2, empty_steps=2)
    doc = json.loads(spec.manifest)
    flags = [json.loads(x["v1Compatibility"]).get("throwaway") for x in doc["history"]]

    assert flags == [None, True, True, None]
    assert [x["blobSum"] for x in doc["fsLayers"]][1:3] == [digest_of(EMPTY_LAYER)] * 2
    assert len(spec.layers) == 2
    assert [x.role for x in spec.objects()] == ["layer[0]", "empty layer", "layer[1]", "manifest"]


def test_history_says_what_a_step_says() -> None:
    layer = a_layer()
    steps = (
        HistoryEntry(layer, size=0, command=("a", "b"), author="me", comment="c"),
        HistoryEntry(layer, throwaway=False),
        HistoryEntry(layer, raw="{"),
    )
    doc = json.loads(Schema1Spec(an_image([layer]), steps=steps).manifest)
    oldest = json.loads(doc["history"][2]["v1Compatibility"])

    assert doc["history"][0]["v1Compatibility"] == "{"
    assert json.loads(doc["history"][1]["v1Compatibility"])["throwaway"] is False
    assert (oldest["Size"], oldest["author"], oldest["comment"]) == (0, "me", "c")
    assert oldest["container_config"]["Cmd"] == ["a", "b"]


def test_lies_of_a_signed_manifest() -> None:
    def shorter(doc: dict[str, Any]) -> None:
        doc["history"].pop()

    cut = a_schema1_image(edit=shorter)
    long = a_schema1_image(protected={"formatLength": 10**6})

    verify(cut.manifest)
    assert len(json.loads(cut.manifest)["history"]) == 1
    head = json.loads(unbase64(json.loads(long.manifest)["signatures"][0]["protected"]))
    assert head["formatLength"] == 10**6


def test_salt_and_names_change_the_digest() -> None:
    spec = a_schema1_image(empty_steps=1)

    digests = {spec.digest, salted(spec, "x").digest, spec.named("other", "v2").digest}

    assert len(digests) == 3
    assert salted(spec, "x").layers[0].digest == salted(an_image(), "x").layers[0].digest
    assert replace(spec, raw_manifest=b"{").digest == digest_of(b"{")
