"""Wrapped layer keys, JWE and PKCS #7: opened or not, whatever stands in the annotations."""

from __future__ import annotations

import base64
import io
import json

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from harness import deep_documents, held, odd_documents
from jwcrypto import jwe as jose
from jwcrypto import jwk
from pyasn1.codec.der import encoder
from pyasn1.type import tag, univ
from pyasn1_modules import rfc5652

from fakeregistry.content.encryption import CIPHER, LayerKey, jwe
from reference.descriptors import ENCRYPTED, OCI_LAYER_GZIP, Descriptor
from reference.encryption import PUBLIC_OPTIONS, Key, Keys, Plain
from reference.errors import IntegrityError, LayerError

_JWE, _PKCS7 = (f"org.opencontainers.image.enc.keys.{how}" for how in ("jwe", "pkcs7"))
_P = int(
    "dd8c354afa66ffb765398cbfa82fda75173b20288a2c7c7e85ef18d8d30d4401"
    "4f63ccd23cc06992e20bfb8803d6fea7ab5614271f5268b9cbff27da22393a0f",
    16,
)
_Q = int(
    "d49990ccd2434954f431f843f54e241a249affb21c0bc23093b9d1cc935e1959"
    "0408211da16ac0e00c77863f0e6f6ad66dd854d21b747a5dbfb8c44056bb1fc5",
    16,
)
_STEPS = (800_000, 400)
"""Each of 256 readers is tried by two keys, in some 1,200 steps."""
_CONTENT_KEY, _NONCE = b"k" * 32, b"n" * 12
DIGEST = "sha256:" + "0a" * 32
EC = LayerKey("fuzz")


def _rsa() -> rsa.RSAPrivateKey:
    """A key that protects nothing: too short, and known to everybody."""
    public = rsa.RSAPublicNumbers(65537, _P * _Q)
    d = pow(65537, -1, (_P - 1) * (_Q - 1))
    return rsa.RSAPrivateNumbers(
        p=_P,
        q=_Q,
        d=d,
        dmp1=d % (_P - 1),
        dmq1=d % (_Q - 1),
        iqmp=rsa.rsa_crt_iqmp(_P, _Q),
        public_numbers=public,
    ).private_key()


RSA = _rsa()


class Held(Keys):
    """Two keys that need no file."""

    def load(self) -> list[Key]:
        """One of each kind."""
        return [EC.private, RSA]


_PRIVATE = {
    "symkey": base64.b64encode(b"s" * 32).decode(),
    "digest": DIGEST,
    "cipheroptions": {"nonce": base64.b64encode(b"n" * 16).decode()},
}
_PUBLIC = {"cipher": CIPHER, "hmac": "AAAA", "cipheroptions": {}}
_OPENED = json.dumps(_PRIVATE).encode()


def _pkcs7() -> bytes:
    """The same key for the RSA key, as Go's pkcs7 writes it."""
    fourth = tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 4)
    gcm = univ.Sequence()
    gcm[0] = univ.OctetString(_NONCE).subtype(implicitTag=fourth)
    gcm[1] = univ.Integer(16)
    enveloped = rfc5652.EnvelopedData()
    enveloped["version"] = 0
    recipient = rfc5652.KeyTransRecipientInfo()
    recipient["version"] = 0
    name = recipient["rid"]["issuerAndSerialNumber"]
    name["issuer"]["rdnSequence"] = name["issuer"]["rdnSequence"].clone()
    name["issuer"]["rdnSequence"].clear()
    name["serialNumber"] = 1
    recipient["keyEncryptionAlgorithm"]["algorithm"] = "1.2.840.113549.1.1.1"
    recipient["encryptedKey"] = RSA.public_key().encrypt(_CONTENT_KEY, padding.PKCS1v15())
    enveloped["recipientInfos"][0]["ktri"] = recipient
    inside = enveloped["encryptedContentInfo"]
    inside["contentType"] = "1.2.840.113549.1.7.1"
    inside["contentEncryptionAlgorithm"]["algorithm"] = "2.16.840.1.101.3.4.1.46"
    inside["contentEncryptionAlgorithm"]["parameters"] = univ.Any(encoder.encode(gcm))
    sealed = AESGCM(_CONTENT_KEY).encrypt(_NONCE, _OPENED, None)
    inside["encryptedContent"] = inside.componentType["encryptedContent"].asn1Object.clone(sealed)
    content = rfc5652.ContentInfo()
    content["contentType"] = "1.2.840.113549.1.7.3"
    content["content"] = univ.Any(encoder.encode(enveloped))
    return bytes(encoder.encode(content))


def _for_rsa(**protected: str) -> bytes:
    token = jose.JWE(_OPENED, json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM", **protected}))
    token.add_recipient(jwk.JWK.from_pyca(RSA.public_key()))
    return str(token.serialize()).encode()


def _protected(header: bytes) -> bytes:
    """A JWE with that protected header."""
    return json.dumps({**_TOKEN, "protected": _url(header), "header": {}}).encode()


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_TOKEN = json.loads(jwe(_OPENED, EC, "fuzz"))
_HEADER = json.loads(base64.urlsafe_b64decode(_TOKEN["protected"] + "=="))
_SEQUENCES = b"\x30\x80" * 3000
WORDS = [
    *(b'"protected"', b'"recipients"', b'"header"', b'"unprotected"', b'"alg"', b'"enc"', b'"epk"'),
    *(b'"zip":"DEF"', b'"p2c":9', b'"crit":["x"]', b'"dir"', b"null", b"[", b"]", b"{", b"}", b","),
    *(b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x24\x80", b"\0\0", b"\x04\0", b"\xa0\x80"),
    *(b"symkey", b"nonce", b"digest", b"sha256:", b"AAAA", b"."),
]
SEEDS = [
    *(bytes([how]) + body for how in range(5) for body in (b"", b"{}", b"[]", b"x", b"\xff", b",")),
    *(b"\0" + text for text in odd_documents(_TOKEN)),
    *(b"\0" + _protected(text) for text in odd_documents(_HEADER)),
    *(b"\0" + text for text in odd_documents({**_TOKEN, "recipients": [{"header": {"a": 1}}]})),
    *(b"\0" + text for text in deep_documents('{"protected":', "}")),
    *(b"\0" + _protected(text) for text in deep_documents('{"alg":', "}")),
    *(b"\0" + _for_rsa(), b"\0" + _for_rsa(zip="DEF")),
    b"\0" + b"a.b.c.d.e",
    b"\1" + _pkcs7(),
    b"\1" + _SEQUENCES,
    b"\1" + _pkcs7()[:20] + _SEQUENCES,
    b"\1\x06\x84\x7f\xff\xff\xff" + b"\xff" * 1000,
    b"\1\x30\x82\x40\0\x06\x82\x3f\0" + b"\xff" * 0x3F00,
    *(b"\2" + text for text in odd_documents(_PRIVATE)),
    *(b"\2" + text for text in deep_documents('{"symkey":', "}")),
    *(b"\3" + text for text in odd_documents(_PUBLIC)),
    *(b"\3" + text for text in deep_documents('{"cipher":', "}")),
    b"\4" + b"AAAA," * 200,
]


def annotations(how: int, body: bytes) -> dict[str, str]:
    """A layer's annotations with `body` in them, in the place that `how` says."""
    found = {_JWE: _coded(jwe(_OPENED, EC, "x")), PUBLIC_OPTIONS: _coded(json.dumps(_PUBLIC))}
    if how == 0:
        found[_JWE] = _coded(body)
    elif how == 1:
        found[_JWE], found[_PKCS7] = "", _coded(body)
    elif how == 2:
        found[_JWE] = _coded(jwe(body, EC, "x"))
    elif how == 3:
        found[PUBLIC_OPTIONS] = _coded(body)
    else:
        found[_JWE] = body.decode("utf-8", "replace")
    return found


def _coded(body: bytes | str) -> str:
    return base64.b64encode(body.encode() if isinstance(body, str) else body).decode()


def fuzz_one(data: bytes) -> None:
    """Unwrap a layer's key, and decrypt by it."""
    found = annotations(data[0] if data else 4, data[1:])
    layer = Descriptor(OCI_LAYER_GZIP + ENCRYPTED, DIGEST, 1, annotations=found)
    with held(data, LayerError, IntegrityError, steps=_STEPS, memory=(32 * 1024**2, 1000)):
        key = Held().unwrap(layer)
        plain = Plain(io.BytesIO(b"x" * 100), key, DIGEST)
        while plain.read(64):
            pass
