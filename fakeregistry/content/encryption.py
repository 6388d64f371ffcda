"""Encrypted layers as ocicrypt makes them: AES-256-CTR with an HMAC, and a key wrapped as JWE.

Sources: ocicrypt's ``blockcipher_aes_ctr.go``, ``encryption.go``, ``keywrapper_jwe.go`` and
``spec.go``; JWE is RFC 7516 with ECDH-ES+A256KW (RFC 7518, 4.6) and A256GCM. Everything that is
random in real life comes from the key's seed and the layer's digest here: the same layer for the
same key is the same bytes. The keys are known to everybody: they protect nothing.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from .data import Buffer, gathered, slices
from .descriptors import digest_of

WRAPPED_KEYS = "org.opencontainers.image.enc.keys.jwe"
PUBLIC_OPTIONS = "org.opencontainers.image.enc.pubopts"
CIPHER = "AES_256_CTR_HMAC_SHA256"

EncryptionLie = Literal["hmac", "key", "digest", "unwrapped"]
"""``hmac``: the HMAC is that of other bytes. ``key``: the layer's key is wrapped for somebody else.
``digest``: what is encrypted has another digest than the wrapped options say. ``unwrapped``: there
is no wrapped key at all."""
ENCRYPTION_LIES: tuple[EncryptionLie, ...] = ("hmac", "key", "digest", "unwrapped")


@dataclass(frozen=True)
class LayerKey:
    """A pair of keys on P-256 for encrypted layers, the same for the same seed."""

    seed: str = "fakeregistry layer key"

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The private key."""
        return _private(self.seed)

    @property
    def private_pem(self) -> bytes:
        """The private key for a puller (``skopeo copy --decryption-key``): PKCS 8 in PEM."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public_pem(self) -> bytes:
        """The public key for who encrypts (``--encryption-key jwe:…``), in PEM."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def encrypted(
    plain: Buffer, key: LayerKey, lie: EncryptionLie | None = None
) -> tuple[Buffer, dict[str, str]]:
    """A layer's blob in cipher, and the annotations that its descriptor needs."""
    digest = digest_of(plain)
    secret = _material(key.seed, "symmetric key", digest)
    nonce = _material(key.seed, "nonce", digest)[:16]
    stream = Cipher(algorithms.AES(secret), modes.CTR(nonce)).encryptor()
    seal = hmac.new(secret, digestmod=hashlib.sha256)

    def pieces() -> Iterator[bytes]:
        for piece in slices([plain]):
            data = stream.update(piece)
            seal.update(data)
            yield data

    blob = gathered(pieces())
    if lie == "hmac":
        seal.update(b"forged")
    private = {
        "symkey": _base64(secret),
        "digest": digest_of(b"other than " + digest.encode()) if lie == "digest" else digest,
        "cipheroptions": {"nonce": _base64(nonce)},
    }
    public = {"cipher": CIPHER, "hmac": _base64(seal.digest()), "cipheroptions": {}}
    annotations = {PUBLIC_OPTIONS: _base64(json.dumps(public).encode())}
    if lie != "unwrapped":
        reader = LayerKey(f"{key.seed}, of somebody else") if lie == "key" else key
        wrapped = jwe(json.dumps(private).encode(), reader, digest)
        annotations[WRAPPED_KEYS] = _base64(wrapped)
    return blob, annotations


def jwe(plain: bytes, reader: LayerKey, salt: str) -> bytes:
    """A JWE for one reader, in RFC 7516's flattened JSON form."""
    ephemeral = _private(_material(reader.seed, "ephemeral key", salt).hex())
    content_key = _material(reader.seed, "content key", salt)
    nonce = _material(reader.seed, "content nonce", salt)[:12]
    numbers = ephemeral.public_key().public_numbers()
    x, y = (_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    header = {
        "alg": "ECDH-ES+A256KW",
        "enc": "A256GCM",
        "epk": {"kty": "EC", "crv": "P-256", "x": x, "y": y},
    }
    shared = ephemeral.exchange(ec.ECDH(), reader.private.public_key())
    # RFC 7518, 4.6.2: the algorithm's name, no party's info, and the key's length in bits.
    name = header["alg"].encode()  # type: ignore[attr-defined]
    info = len(name).to_bytes(4, "big") + name + bytes(8) + (256).to_bytes(4, "big")
    wrapping = ConcatKDFHash(SHA256(), 32, info).derive(shared)
    protected = _base64url(json.dumps(header).encode())
    sealed = AESGCM(content_key).encrypt(nonce, plain, protected.encode())
    return json.dumps(
        {
            "protected": protected,
            "encrypted_key": _base64url(aes_key_wrap(wrapping, content_key)),
            "iv": _base64url(nonce),
            "ciphertext": _base64url(sealed[:-16]),
            "tag": _base64url(sealed[-16:]),
        }
    ).encode()


def _material(seed: str, name: str, salt: str) -> bytes:
    return hashlib.sha256(f"{name}\n{seed}\n{salt}".encode()).digest()


def _private(seed: str) -> ec.EllipticCurvePrivateKey:
    secret = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")
    return ec.derive_private_key(secret, ec.SECP256R1())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
