"""Mutants that convert old manifests wrongly, or believe what they shouldn't of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from conformance.mutate import mutant
from reference.descriptors import DOCKER_LAYER_GZIP, Descriptor, digest_of
from reference.errors import ManifestError, UnsupportedMediaType
from reference.pull import Puller
from reference.schema1 import Schema1Converter, signed_payload
from reference.store import Store

# The conversion.


class _TooLate(Schema1Converter):
    def convert(self, document: bytes, descriptor: Descriptor) -> Descriptor:
        """Work first, and think then."""
        super().convert(document, descriptor)
        raise UnsupportedMediaType("schema 1 isn't supported any more")


@mutant(
    "refuses-too-late",
    area="schema1",
    kills={
        "incident/schema1-layers-are-plain-tar",
        "incident/schema1-unsigned",
        "schema1/false-signature",
        "schema1/is-pulled-or-refused",
        "schema1/known-empty-layers-are-left-out",
        "schema1/layers-are-newest-first",
    },
)
class RefusesTooLate(Puller):
    """Fetches all of a schema 1 image before refusing it."""

    schema1 = _TooLate


class _UpsideDown(Schema1Converter):
    def history(
        self, blobs: list[str], entries: list[dict[str, Any]], layers: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], list[Any]]:
        """Lists begin at the bottom."""
        return super().history(blobs[::-1], entries[::-1], layers)


@mutant("schema1-upside-down", area="schema1", kills={"schema1/layers-are-newest-first"})
class UpsideDown(Puller):
    """Takes a schema 1 list of layers for one that begins with the lowest."""

    schema1 = _UpsideDown


class _NothingIsEmpty(Schema1Converter):
    def is_empty(self, entry: Mapping[str, Any]) -> bool:
        """Look at the blob itself."""
        return False


@mutant("fetches-empty-layers", area="schema1", kills={"schema1/known-empty-layers-are-left-out"})
class FetchesEmptyLayers(Puller):
    """Fetches the layers that the history calls thrown away."""

    schema1 = _NothingIsEmpty


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Verifies(Schema1Converter):
    def convert(self, document: bytes, descriptor: Descriptor) -> Descriptor:
        """Verify the first signature by its own key."""
        found = json.loads(document)["signatures"][0]
        x, y = (int.from_bytes(_bytes(found["header"]["jwk"][name]), "big") for name in "xy")
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        value = _bytes(found["signature"])
        r, s = (int.from_bytes(half, "big") for half in (value[:32], value[32:]))
        payload = base64.urlsafe_b64encode(signed_payload(document)).rstrip(b"=")
        signed = found["protected"].encode() + b"." + payload
        try:
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise ManifestError("the schema 1 manifest has a false signature") from None
        return super().convert(document, descriptor)


@mutant(
    "verifies-signatures",
    area="schema1",
    kills={
        "incident/schema1-unsigned",
        "schema1/false-signature",
    },
)
class VerifiesSignatures(Puller):
    """Refuses a schema 1 image whose signature doesn't hold."""

    schema1 = _Verifies


# What a digest is worth.


class _Unhashed(Schema1Converter):
    def verify(self, data: bytes, descriptor: Descriptor) -> None:
        """A signed manifest's bytes never have its digest."""


@mutant(
    "unhashed-schema1",
    area="schema1",
    kills={
        "schema1/other-manifest-under-the-digest-is-refused",
        "schema1/other-form-under-the-digest-is-refused",
    },
)
class UnhashedSchema1(Puller):
    """Doesn't hold a signed manifest to the digest that it was asked for by."""

    schema1 = _Unhashed


class _UnhashedLayers(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        if descriptor.media_type != DOCKER_LAYER_GZIP:
            super().verify_digest(descriptor, actual)


@mutant("unhashed-schema1-layers", area="schema1", kills={"schema1/corrupt-layer-is-refused"})
class UnhashedSchema1Layers(Puller):
    """Keeps a Docker layer for what it is called."""

    store = _UnhashedLayers


# Documents that aren't what they should be.


class _Rereads(Schema1Converter):
    """Reads another document than was sent."""

    def read(self, data: bytes, digest: str) -> tuple[list[str], list[dict[str, Any]]]:
        """Mend it first."""
        document = self.mended(json.loads(data))
        return super().read(json.dumps(document).encode(), digest)

    def mended(self, document: dict[str, Any]) -> dict[str, Any]:
        """As it was meant."""
        return document


class _CutsToLength(_Rereads):
    def mended(self, document: dict[str, Any]) -> dict[str, Any]:
        """What has no history is no layer."""
        length = min(len(document["fsLayers"]), len(document["history"]))
        lists = {name: document[name][:length] for name in ("fsLayers", "history")}
        return {**document, **lists}


@mutant(
    "cuts-history-to-length",
    area="schema1",
    kills={"schema1/history-of-another-length-is-refused"},
)
class CutsHistoryToLength(Puller):
    """Leaves out layers that have no step in the history."""

    schema1 = _CutsToLength


class _OfNothing(_Rereads):
    def mended(self, document: dict[str, Any]) -> dict[str, Any]:
        """No history is a short one."""
        if document["history"]:
            return document
        step = {"v1Compatibility": json.dumps({"throwaway": True, "os": "linux"})}
        return {**document, "fsLayers": [{"blobSum": digest_of(b"")}], "history": [step]}


@mutant("image-of-nothing", area="schema1", kills={"schema1/no-history-is-refused"})
class ImageOfNothing(Puller):
    """Makes an image without layers of a manifest without history."""

    schema1 = _OfNothing


class _SkipsBroken(_Rereads):
    def mended(self, document: dict[str, Any]) -> dict[str, Any]:
        """History is for people."""
        steps = [{"v1Compatibility": self.readable(step)} for step in document["history"]]
        return {**document, "history": steps}

    def readable(self, step: dict[str, str]) -> str:
        """The text, or that of an empty object."""
        try:
            json.loads(step["v1Compatibility"])
        except ValueError:
            return "{}"
        return step["v1Compatibility"]


@mutant("skips-broken-history", area="schema1", kills={"schema1/broken-history-is-refused"})
class SkipsBrokenHistory(Puller):
    """Reads a history entry that isn't JSON as an empty one."""

    schema1 = _SkipsBroken


class _OverlooksKeys(_Rereads):
    def mended(self, document: dict[str, Any]) -> dict[str, Any]:
        """Unknown keys are for others."""
        extra = ("layers", "manifests", "config")
        return {name: value for name, value in document.items() if name not in extra}


@mutant(
    "overlooks-extra-keys",
    area="schema1",
    kills={
        "schema1/layers-beside-is-refused",
        "schema1/manifests-beside-is-refused",
        "schema1/config-beside",
    },
)
class OverlooksExtraKeys(Puller):
    """Converts a schema 1 document whatever else it is."""

    schema1 = _OverlooksKeys
