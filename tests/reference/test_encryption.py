"""Encrypted layers: read with the right key, refused with any other, and never half."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from fakeregistry import File, Image, Layer, Registries, Registry, an_image, blob
from fakeregistry.content.encryption import PUBLIC_OPTIONS, WRAPPED_KEYS, LayerKey, jwe
from reference.config import Config, Request
from reference.descriptors import ENCRYPTED, OCI_LAYER_GZIP, Descriptor
from reference.encryption import Key, Keys
from reference.errors import ConfigError, LayerError
from reference.pull import Pulled, Puller

AMD64 = "linux/amd64"
KEY = LayerKey()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("encrypted") as registries:
        yield registries.registry()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(KEY.private_pem)
    return path


def image(registry: Registry, lie: str | None = None) -> Image:
    secret = Layer((File("etc/secret", "secret"),), encrypted=KEY, encryption_lie=lie)
    return registry.add(an_image([Layer((File("etc/open", "open"),)), secret], platform=AMD64))


def pull(made: Image, root: Path, *keys: Path, unpack: bool = True) -> Pulled:
    puller = Puller(Config(platform=AMD64, decryption_keys=keys), root)
    return puller.pull(Request(made.reference, unpack=unpack))


def test_a_layer_is_read_with_its_key(registry: Registry, key: Path, tmp_path: Path) -> None:
    """ENC-03; a layer that isn't encrypted needs none (Q-28)."""
    rootfs = pull(image(registry), tmp_path / "store", key).rootfs
    assert rootfs is not None
    assert (rootfs / "etc/secret").read_text() == "secret"
    assert (rootfs / "etc/open").read_text() == "open"


def test_keys_may_lie_in_a_folder(registry: Registry, key: Path, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    (folder / "more").mkdir(parents=True)
    (folder / "public.pem").write_bytes(KEY.public_pem)
    other = rsa.generate_private_key(65537, 2048)
    der = other.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    (folder / "a.der").write_bytes(der)
    (folder / "b.pem").write_bytes(KEY.private_pem)
    assert pull(image(registry), tmp_path / "store", folder).rootfs


@pytest.mark.parametrize("held", ["none", "another"])
def test_without_the_key_no_layer_is_asked_for(
    registry: Registry, tmp_path: Path, held: str
) -> None:
    """ENC-05"""
    made = image(registry)
    other = tmp_path / "other.pem"
    other.write_bytes(LayerKey("other").private_pem)
    with pytest.raises(LayerError, match="is encrypted") as caught:
        pull(made, tmp_path / "store", *([other] if held == "another" else []))
    assert ("there is no key" in str(caught.value)) == (held == "none")
    assert registry.requests(blob(made.layers[0])) == []
    assert Puller(Config(), tmp_path / "store").records.list() == []


def test_an_image_that_is_unpacked_already_is_no_way_around_the_key(
    registry: Registry, key: Path, tmp_path: Path
) -> None:
    """ENC-09"""
    made = image(registry)
    pull(made, tmp_path / "store", key)
    with pytest.raises(LayerError, match="there is no key"):
        pull(made, tmp_path / "store")


def test_who_only_fetches_needs_no_key(registry: Registry, tmp_path: Path) -> None:
    """ENC-08"""
    made = image(registry)
    assert pull(made, tmp_path / "store", unpack=False).image_id == made.image_id


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("hmac", "was changed after it was encrypted"),
        ("digest", "is another one than was encrypted"),
        ("key", "none of 1 keys opens it"),
        ("unwrapped", "none of 1 keys opens it"),
    ],
)
def test_a_lie_is_refused_and_leaves_no_snapshot(
    registry: Registry, key: Path, tmp_path: Path, lie: str, said: str
) -> None:
    """ENC-07"""
    with pytest.raises(LayerError, match=said):
        pull(image(registry, lie), tmp_path / "store", key)
    assert os.listdir(tmp_path / "store/snapshots") == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "isn't a private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "isn't a private key"),
        (
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            ),
            "without a password",
        ),
        (
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "another kind than RSA or EC",
        ),
    ],
)
def test_what_is_no_key_is_said_in_one_line(
    registry: Registry, tmp_path: Path, data: bytes, said: str
) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        pull(image(registry), tmp_path / "store", bad)
    with pytest.raises(ConfigError, match="can't read key"):
        pull(image(registry), tmp_path / "store", tmp_path / "none")


@pytest.mark.parametrize(
    "annotation", ["%%%", base64.b64encode(b"x").decode(), base64.b64encode(b"{}").decode(), ",,"]
)
@pytest.mark.parametrize("how", ["jwe", "pkcs7"])
def test_wrapped_keys_of_all_sorts_end_in_one_line(
    registry: Registry, tmp_path: Path, how: str, annotation: str
) -> None:
    """ENC-06"""
    made = rsa.generate_private_key(65537, 2048)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    layer = Layer(
        (File("x", "x"),),
        declared={
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "annotations": {f"org.opencontainers.image.enc.keys.{how}": annotation},
        },
    )
    wrong = registry.add(an_image([layer], platform=AMD64))
    with pytest.raises(LayerError) as caught:
        pull(wrong, tmp_path / "store", tmp_path / "key.pem")
    assert "\n" not in str(caught.value)


def key_of(opened: bytes, **annotations: str) -> object:
    """What is understood of a layer's key that says `opened`."""
    wrapped = {
        WRAPPED_KEYS: base64.b64encode(jwe(opened, KEY, "")).decode(),
        PUBLIC_OPTIONS: base64.b64encode(b"{}").decode(),
    }
    digest = "sha256:" + "0" * 64
    layer = Descriptor(OCI_LAYER_GZIP + ENCRYPTED, digest, 1, annotations=wrapped | annotations)

    class Held(Keys):
        def load(self) -> list[Key]:
            return [KEY.private]

    return Held().unwrap(layer)


@pytest.mark.parametrize("opened", [b"[" * 10_000, b"[]", b"{}", b'{"symkey":1}', b"\xff"])
def test_a_key_that_says_nothing_useful_is_refused(opened: bytes) -> None:
    with pytest.raises(LayerError, match="can't be understood"):
        key_of(opened)


def test_no_layer_is_for_any_number_of_readers() -> None:
    with pytest.raises(LayerError, match="more than 256 readers"):
        key_of(b"{}", **{WRAPPED_KEYS: "AAAA," * 257})


def certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reader")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("kind", ["jwe, RSA", "jwe, EC", "pkcs7", "both"])
def test_what_skopeo_encrypted_is_read(registry: Registry, tmp_path: Path, kind: str) -> None:
    """ENC-02, ENC-06"""
    made = registry.add(an_image([Layer((File("etc/secret", "secret"),))], platform=AMD64))
    pair = rsa.generate_private_key(65537, 2048)
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = pair
    if kind == "jwe, EC":
        private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    (tmp_path / "certificate.pem").write_bytes(certificate(pair))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    wanted = [
        f"--encryption-key={how}:{tmp_path / file}"
        for how, file in (("jwe", "public.pem"), ("pkcs7", "certificate.pem"))
        if kind == "both" or kind.startswith(how)
    ]
    subprocess.run(
        [
            *("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", *wanted),
            *(f"docker://{made.reference}", f"docker://{made.host}/app/secret:v1"),
        ],
        check=True,
        timeout=60,
        capture_output=True,
    )
    puller = Puller(
        Config(platform=AMD64, decryption_keys=(tmp_path / "key.pem",)), tmp_path / "store"
    )
    rootfs = puller.pull(Request(f"{made.host}/app/secret:v1")).rootfs
    assert rootfs is not None
    assert (rootfs / "etc/secret").read_text() == "secret"
    document = json.loads(puller.read(puller.here(f"{made.host}/app/secret:v1", None).descriptor))
    assert document["layers"][0]["mediaType"].endswith("+encrypted")
