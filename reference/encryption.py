"""Encrypted layers, as ocicrypt makes them: a key for each layer, wrapped for whoever may read it.

The layer is AES-256-CTR with an HMAC-SHA256 over the cipher text; its key, nonce and the digest of
the plain blob are JSON that is wrapped as JWE (RFC 7516) or PKCS #7 (RFC 5652) in an annotation of
the layer's descriptor (ocicrypt `encryption.go`, `blockcipher_aes_ctr.go`, `keywrap/`). Needs the
extra ``encrypted``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
)

from reference.descriptors import ENCRYPTED, Descriptor, algorithm_of, is_encrypted_type
from reference.errors import ConfigError, LayerError

PUBLIC_OPTIONS = "org.opencontainers.image.enc.pubopts"
_CIPHER = "AES_256_CTR_HMAC_SHA256"
_LONGEST = 64 * 1024
"""Longest wrapped key or key file, in bytes."""
_MOST_READERS = 256
_AES_GCM = {16: "2.16.840.1.101.3.4.1.6", 32: "2.16.840.1.101.3.4.1.46"}

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class LayerKey:
    """What it takes to read one layer."""

    secret: bytes
    nonce: bytes
    seal: bytes
    """The HMAC-SHA256 of the cipher text."""
    digest: str
    """Of the plain blob; "" where whoever encrypted it didn't say."""


class Keys:
    """The private keys of this machine: files, or folders of files, in PEM or DER."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self.paths = paths

    def check(self, layers: Iterable[Descriptor]) -> None:
        """Refuse layers for which there is no key, also where they are unpacked already.

        Containerd looks at keys only when it unpacks (ENC-09); so whoever may not read an image
        could have it from one who may (CVE-2022-24778 was of that kind).
        """
        for layer in layers:
            if is_encrypted_type(layer.media_type):
                self.unwrap(layer)

    @contextmanager
    def opened(self, path: Path, layer: Descriptor) -> Iterator[tuple[BinaryIO, str]]:
        """The plain blob of a layer, as a file to read once, and its media type."""
        key = self.unwrap(layer)
        with open(path, "rb", buffering=0) as file:
            plain: Any = Plain(file, key, layer.digest)
            yield plain, layer.media_type.removesuffix(ENCRYPTED)

    def unwrap(self, layer: Descriptor) -> LayerKey:
        """The key of a layer. LayerError where none of ours opens it (ENC-05)."""
        keys = self.load()
        for annotation, unwrap in _WRAPPINGS.items():
            for wrapped in _wrapped(layer, annotation):
                for key in keys:
                    opened = unwrap(_decoded(wrapped, layer), key)
                    if opened is not None:
                        return _layer_key(opened, layer)
        held = f"none of {len(keys)} keys opens it" if keys else "there is no key"
        raise LayerError(f"layer {layer.digest} is encrypted ({layer.media_type}) and {held}")

    def load(self) -> list[Key]:
        """Every key that is configured, read anew. ConfigError for one that is none."""
        return [key for path in self.paths for file in _files(path) for key in _read(file)]


class Plain(io.RawIOBase):
    """Decrypts while it is read; the last read fails where the HMAC or the digest is wrong."""

    def __init__(self, file: BinaryIO, key: LayerKey, what: str) -> None:
        self._file = file
        self._what = what
        self._key = key
        cipher = Cipher(algorithms.AES(key.secret), modes.CTR(key.nonce))
        self._stream: CipherContext = cipher.decryptor()
        self._seal = hmac.new(key.secret, digestmod=hashlib.sha256)
        self._digest = hashlib.new(algorithm_of(key.digest)) if key.digest else None

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` plain bytes; b"" at the end, once all of it was verified."""
        data = self._file.read(size)
        if not data:
            self.verify()
            return b""
        self._seal.update(data)
        plain = self._stream.update(data)
        if self._digest is not None:
            self._digest.update(plain)
        return plain

    def verify(self) -> None:
        """Compare the HMAC, and the digest of the plain blob (ENC-07)."""
        if not hmac.compare_digest(self._seal.digest(), self._key.seal):
            raise LayerError(f"layer {self._what} was changed after it was encrypted")
        if self._digest is not None:
            wanted = self._key.digest.partition(":")[2]
            if self._digest.hexdigest() != wanted:
                raise LayerError(f"layer {self._what} is another one than was encrypted")


def _wrapped(layer: Descriptor, annotation: str) -> list[str]:
    """The layer's key as each reader got it; trying one takes a millisecond, so not any number."""
    found = list(filter(None, layer.annotations.get(annotation, "").split(",")))
    if len(found) > _MOST_READERS:
        raise LayerError(f"layer {layer.digest} is encrypted for more than {_MOST_READERS} readers")
    return found


def _layer_key(opened: bytes, layer: Descriptor) -> LayerKey:
    try:
        private = json.loads(opened)
        public = json.loads(_decoded(layer.annotations[PUBLIC_OPTIONS], layer))
        if public["cipher"] != _CIPHER:
            raise LayerError(f"layer {layer.digest} is encrypted by {public['cipher']!r}")
        key = LayerKey(
            base64.b64decode(private["symkey"]),
            base64.b64decode(private["cipheroptions"]["nonce"]),
            base64.b64decode(public["hmac"]),
            str(private.get("digest", "")),
        )
        Cipher(algorithms.AES256(key.secret), modes.CTR(key.nonce))
        if key.digest:
            algorithm_of(key.digest)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise LayerError(f"the key of layer {layer.digest} can't be understood") from None
    return key


def _decoded(text: str, layer: Descriptor) -> bytes:
    try:
        return base64.b64decode(text[:_LONGEST], validate=True)
    except ValueError:
        raise LayerError(f"a key of layer {layer.digest} isn't base64") from None


# Wrappings: each returns the JSON of the layer's key, or None where this key doesn't open it.


def _open_jwe(wrapped: bytes, key: Key) -> bytes | None:
    try:
        from jwcrypto import jwe, jwk
        from jwcrypto.common import JWException
    except ImportError as error:
        raise _missing(error) from None
    try:
        token = jwe.JWE()
        token.deserialize(wrapped.decode(), jwk.JWK.from_pyca(key))
        return bytes(token.payload)
    except (JWException, ValueError, TypeError, KeyError):
        return None


def _open_pkcs7(wrapped: bytes, key: Key) -> bytes | None:
    try:
        from pyasn1.codec.ber import decoder
        from pyasn1.error import PyAsn1Error
        from pyasn1.type import namedtype, tag, univ
        from pyasn1_modules import rfc5652
    except ImportError as error:
        raise _missing(error) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        return None
    # As Go's pkcs7 writes them: the nonce has a tag of its own.
    octets: Any = univ.OctetString()
    fourth = tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 4)
    gcm = univ.Sequence(
        componentType=namedtype.NamedTypes(
            namedtype.NamedType("nonce", octets.subtype(implicitTag=fourth)),
            namedtype.NamedType("length", univ.Integer()),
        )
    )

    try:
        content = decoder.decode(wrapped, asn1Spec=rfc5652.ContentInfo())[0]
        enveloped = decoder.decode(content["content"], asn1Spec=rfc5652.EnvelopedData())[0]
        inside = enveloped["encryptedContentInfo"]
        how = inside["contentEncryptionAlgorithm"]
        # Go puts the sequence into another one, which it calls primitive: two bytes in front.
        raw = bytes(how["parameters"])
        parameters = decoder.decode(raw[2:] if raw[:1] == b"\x10" else raw, asn1Spec=gcm)[0]
        sealed = bytes(inside["encryptedContent"])
        for recipient in enveloped["recipientInfos"]:
            try:
                secret = key.decrypt(bytes(recipient["ktri"]["encryptedKey"]), padding.PKCS1v15())
                if _AES_GCM.get(len(secret)) == str(how["algorithm"]):
                    return AESGCM(secret).decrypt(bytes(parameters["nonce"]), sealed, None)
            except (ValueError, InvalidTag):
                continue
    except (PyAsn1Error, ValueError):
        return None
    return None


_WRAPPINGS: dict[str, Callable[[bytes, Key], bytes | None]] = {
    "org.opencontainers.image.enc.keys.jwe": _open_jwe,
    "org.opencontainers.image.enc.keys.pkcs7": _open_pkcs7,
}


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(f"{error.name} is missing: pip install 'pullproof[encrypted]'")


# Key files.


def _files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.is_file())
    except OSError as error:
        raise ConfigError(f"can't look for keys in {path}: {error.strerror}") from None
    return [path]


def _read(path: Path) -> list[Key]:
    """The key in a file; certificates and public keys, which may lie beside, are passed over."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST)
    except OSError as error:
        raise ConfigError(f"can't read key {path}: {error.strerror}") from None
    if b"-----BEGIN" in data and b"PRIVATE KEY-----" not in data:
        return []
    load = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
    try:
        key = load(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{path} isn't a private key in PEM or DER without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} is a key of another kind than RSA or EC")
    return [key]
