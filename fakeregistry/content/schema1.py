"""Docker's manifest v2 schema 1: the form that old images still have.

Source: distribution's ``manifest-v2-1`` document; the signature is libtrust's JSON web signature
over the document without its last line, as ``formatLength`` and ``formatTail`` say. The digest of
a signed manifest is that of the payload, without signatures.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .data import Buffer
from .descriptors import Document, Object, digest_of
from .image import Edit, ImageSpec, an_image
from .layers import Layer
from .mediatypes import OCTET_STREAM, SCHEMA1_SIGNED, SCHEMA1_UNSIGNED

Signature = Literal["good", "bad", "none"]

EMPTY_LAYER = base64.b64decode(b"H4sIAAAJbogA/2IYBaNgFIxYAAgAAP//Lq+17wAEAAA=")
"""gzip of 1024 zero bytes as Docker wrote it: the blob that stands for 'no change'."""

_KEY_SEED = b"fakeregistry schema 1 signing key"


@dataclass(frozen=True)
class HistoryEntry:
    """One step of a schema 1 history. ``layer`` None: a step that changed no file.

    ``throwaway`` None: the key is absent. ``size``: a ``Size`` key, as builders before the
    key ``throwaway`` wrote it. ``raw``: this text instead of the v1Compatibility document.
    """

    layer: Layer | None = None
    throwaway: bool | None = None
    size: int | None = None
    command: tuple[str, ...] = ("/bin/sh", "-c", "#(nop) ADD file")
    author: str = ""
    comment: str = ""
    raw: str | None = None


@dataclass(frozen=True)
class Schema1Spec:
    """A schema 1 image: the layers of ``image``, under the name and tag that the document holds.

    ``steps`` (oldest first, as a build runs) None: one step per layer. ``signature``: ``good``
    is a true ES256 signature by a key made from a fixed seed, ``bad`` one over other bytes,
    ``none`` no signatures at all. ``edit`` changes the payload before it is signed;
    ``protected`` puts keys over the signature's protected header (``formatLength``, …).
    """

    image: ImageSpec
    name: str = "app/web"
    tag: str = "v1"
    signature: Signature = "good"
    steps: tuple[HistoryEntry, ...] | None = None
    edit: Edit | None = None
    protected: Mapping[str, Any] = field(default_factory=dict, hash=False)
    content_type: str | None = None
    raw_manifest: bytes | None = field(default=None, repr=False)

    @property
    def history(self) -> tuple[HistoryEntry, ...]:
        """The steps, oldest first."""
        if self.steps is not None:
            return self.steps
        return tuple(HistoryEntry(layer, throwaway=None) for layer in self.image.layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of a converted image, oldest first; steps without a layer are left out."""
        return tuple(step.layer for step in self.history if step.layer is not None)

    @cached_property
    def payload(self) -> bytes:
        """The document without signatures: these bytes have the digest, and are signed."""
        document: Document = {
            "schemaVersion": 1,
            "name": self.name,
            "tag": self.tag,
            "architecture": self.image.platform_object["architecture"],
            # Schema 1 is the only form that lists the newest layer first.
            "fsLayers": [{"blobSum": _blob_of(step)[0]} for step in reversed(self.history)],
            "history": [{"v1Compatibility": text} for text in reversed(self._compatibility())],
        }
        if self.edit is not None:
            document = self.edit(document) or document
        return json.dumps(document, indent=3).encode()

    def _compatibility(self) -> list[str]:
        texts: list[str] = []
        parent = ""
        for number, step in enumerate(self.history):
            text: Document = {"created": self.image.created}
            if parent:
                text["parent"] = parent
            material = f"{parent} {_blob_of(step)[0]} {number}"
            text["id"] = parent = hashlib.sha256(material.encode()).hexdigest()
            text["container_config"] = {"Cmd": list(step.command)}
            if step.author:
                text["author"] = step.author
            if step.comment:
                text["comment"] = step.comment
            if step.throwaway is not None:
                text["throwaway"] = step.throwaway
            if step.size is not None:
                text["Size"] = step.size
            if number == len(self.history) - 1:
                # The newest entry doubles as the image's config.
                text.update(self.image.platform_object)
                text["config"] = {"Cmd": ["/bin/tool"], "Labels": dict(self.image.labels)}
            texts.append(json.dumps(text) if step.raw is None else step.raw)
        return texts

    @cached_property
    def manifest(self) -> bytes:
        """The manifest's bytes as the registry serves them."""
        if self.raw_manifest is not None:
            return self.raw_manifest
        if self.signature == "none":
            return self.payload
        return _signed(self.payload, self.image.created, self.signature, self.protected)

    @property
    def media_type(self) -> str:
        """The type under which the registry serves it."""
        if self.content_type is not None:
            return self.content_type
        return SCHEMA1_UNSIGNED if self.signature == "none" else SCHEMA1_SIGNED

    @property
    def size(self) -> int:
        """Length of the manifest in bytes, signatures included."""
        return len(self.manifest)

    @property
    def digest(self) -> str:
        """The digest of the payload, which is the name of a schema 1 manifest."""
        return digest_of(self.payload if self.raw_manifest is None else self.raw_manifest)

    def objects(self) -> Iterator[Object]:
        """All that the registry stores for it; schema 1 has no config."""
        seen: set[str] = set()
        number = 0
        for step in self.history:
            digest, data = _blob_of(step)
            role = "empty layer" if step.layer is None else f"layer[{number}]"
            number += step.layer is not None
            if digest not in seen and (step.layer is None or step.layer.served):
                seen.add(digest)
                yield Object("blob", digest, OCTET_STREAM, data, role)
        yield Object("manifest", self.digest, self.media_type, self.manifest, "manifest")

    def salted(self, salt: str) -> "Schema1Spec":
        """The same image with salt in every layer and in the config's labels."""
        if not salt:
            return self
        steps = self.steps
        if steps is not None:
            steps = tuple(
                step if step.layer is None else replace(step, layer=step.layer.salted(salt))
                for step in steps
            )
        return replace(self, image=self.image.salted(salt), steps=steps)

    def named(self, name: str, tag: str) -> "Schema1Spec":
        """The same image under the name and tag that it is put at: the document holds both."""
        return replace(self, name=name, tag=tag)


def a_schema1_image(
    layers: int | Sequence[Layer] = 2,
    *,
    size: int = 3 * 1024,
    platform: str = "linux/amd64",
    signed: bool = True,
    signature: Signature | None = None,
    empty_steps: int = 0,
    salt: str = "",
    **overrides: Any,
) -> Schema1Spec:
    """A schema 1 image; ``empty_steps`` throwaway steps stand after the first layer.

    ``signed=False`` is the unsigned form, which has another media type. ``overrides``: fields of
    :class:`Schema1Spec`.
    """
    image = an_image(layers, size=size, platform=platform, docker=True)
    steps: tuple[HistoryEntry, ...] | None = None
    if empty_steps:
        made = [HistoryEntry(layer) for layer in image.layers]
        empty = HistoryEntry(None, throwaway=True, command=("/bin/sh", "-c", "#(nop) CMD"))
        made[1:1] = [empty] * empty_steps
        steps = tuple(made)
    chosen: Signature = signature or ("good" if signed else "none")
    spec = Schema1Spec(image, signature=chosen, **{"steps": steps, **overrides})
    return spec.salted(salt)


def _blob_of(step: HistoryEntry) -> tuple[str, Buffer]:
    if step.layer is None:
        return digest_of(EMPTY_LAYER), EMPTY_LAYER
    return step.layer.digest, step.layer.blob


def _signed(payload: bytes, time: str, signature: Signature, protected: Mapping[str, Any]) -> bytes:
    key = _signing_key()
    # The document's last line ('\n}') is taken off, signatures are put in, the line comes back.
    length = len(payload.rstrip(b"}").rstrip())
    tail = payload[length:]
    head = {"formatLength": length, "formatTail": _base64url(tail), "time": time, **protected}
    protected_text = _base64url(json.dumps(head).encode())
    signed = f"{protected_text}.{_base64url(payload)}"
    if signature == "bad":
        signed += "other"
    entry = {
        "header": {"jwk": _jwk(key), "alg": "ES256"},
        "signature": _base64url(_es256(key, signed.encode())),
        "protected": protected_text,
    }
    lines = json.dumps([entry], indent=3).replace("\n", "\n   ").encode()
    return payload[:length] + b',\n   "signatures": ' + lines + tail


def _signing_key() -> ec.EllipticCurvePrivateKey:
    secret = int.from_bytes(hashlib.sha256(_KEY_SEED).digest(), "big")
    return ec.derive_private_key(secret, ec.SECP256R1())


def _es256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    try:
        encoded = key.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))
    except UnsupportedAlgorithm:
        # OpenSSL before 3.2 has no RFC 6979: the signature then differs from run to run, the
        # digest (which leaves it out) doesn't.
        encoded = key.sign(message, ec.ECDSA(SHA256()))
    r, s = decode_dss_signature(encoded)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _jwk(key: ec.EllipticCurvePrivateKey) -> Document:
    public = key.public_key()
    numbers = public.public_numbers()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # libtrust's key id: 240 bits of the key's hash in base32, in twelve groups of four.
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return {
        "crv": "P-256",
        "kid": ":".join(text[at : at + 4] for at in range(0, len(text), 4)),
        "kty": "EC",
        "x": _base64url(numbers.x.to_bytes(32, "big")),
        "y": _base64url(numbers.y.to_bytes(32, "big")),
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
