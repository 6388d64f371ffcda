"""Certificates: one fault each, everything else about them valid. ECDSA but where RSA is the fault.

One CA per process serves every topology: making one costs little, trusting one is global enough.
"""

from __future__ import annotations

import functools
import ipaddress
import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
WRONG_HOST = "wrong-host.invalid"
FAULTS = (
    "valid",
    "expired",
    "not_yet_valid",
    "wrong_host",
    "unknown_ca",
    "self_signed",
    "missing_intermediate",
    "wrong_usage",
    "weak_key",
    "old_version",
)
"""What a registry's TLS can be like. `old_version` has a valid certificate, and speaks TLS 1.1."""
HTTP1 = ("http/1.1",)
"""The protocols that ALPN offers unless told otherwise."""
_VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1}
_WEAK_BITS = 1024


class TLSSocket(ssl.SSLSocket):
    """A server's TLS socket that remembers the name that the client asked for (SNI)."""

    server_name: str | None = None


def _remember_name(
    sock: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
) -> None:
    if isinstance(sock, TLSSocket):
        sock.server_name = name


@functools.lru_cache(maxsize=1)
def _authority() -> trustme.CA:
    return trustme.CA(organization_name="pullproof", organization_unit_name="test CA")


@functools.lru_cache(maxsize=1)
def _stranger() -> trustme.CA:
    return trustme.CA(organization_name="pullproof", organization_unit_name="unknown CA")


@dataclass(frozen=True)
class ServerCertificate:
    """A certificate that a registry shows, and whether it asks for the client's.

    `fault` is one of `FAULTS`; `chain` and `key` are PEM.
    """

    fault: str
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_certificate_required: bool = False

    def context(
        self, offered: tuple[str, ...] = HTTP1, version: str | None = None
    ) -> ssl.SSLContext:
        """Return the server's TLS context (made once per certificate and manner).

        `offered` are the protocols of ALPN, best first; `version` is "1.0" or "1.1" for an old
        version of TLS and no other.
        """
        return _context(self, offered, version or ("1.1" if self.fault == "old_version" else None))


@functools.lru_cache(maxsize=128)
def _context(
    certificate: ServerCertificate, offered: tuple[str, ...], version: str | None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if version is not None or certificate.fault == "weak_key":
        # What is too weak for everybody else is what these are for.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = _VERSIONS[version]
    context.sslsocket_class = TLSSocket
    context.sni_callback = _remember_name
    # A client's bare FIN is the end, as everywhere in HTTP/1: we can still answer on our side.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if offered:
        context.set_alpn_protocols(list(offered))
    with tempfile.TemporaryDirectory(prefix="fakeregistry-") as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_bytes(certificate.chain)
        key.touch(mode=0o600)
        key.write_bytes(certificate.key)
        context.load_cert_chain(chain, key)
    if certificate.client_certificate_required:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=_authority().cert_pem.bytes().decode())
    return context


class Certificates:
    """The CA of a topology, and the certificates that its registries can show.

    `names` are host names that every right certificate covers, beside loopback's.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = tuple(dict.fromkeys((*LOOPBACK_NAMES, *names)))

    @property
    def ca_pem(self) -> str:
        """The CA's certificate, PEM."""
        return _authority().cert_pem.bytes().decode()

    def ca_file(self, directory: Path | str) -> Path:
        """Write the CA's certificate into a folder, and return the file `ca.crt`."""
        path = Path(directory, "ca.crt")
        path.write_text(self.ca_pem)
        return path

    def client_context(self) -> ssl.SSLContext:
        """Return a client's TLS context that trusts this CA alone."""
        return ssl.create_default_context(cadata=self.ca_pem)

    def client_certificate(
        self,
        directory: Path | str,
        name: str = "puller",
        *,
        known: bool = True,
        expired: bool = False,
    ) -> tuple[Path, Path]:
        """Write a client certificate; return the files of certificate and key, PEM.

        By this CA: `client.cert` and `client.key`. Not `known`: by a CA that no registry trusts,
        `stranger.cert` and `stranger.key`. `expired`: it ended yesterday, `expired.cert` and
        `expired.key`.
        """
        authority, stem = (_authority(), "client") if known else (_stranger(), "stranger")
        if expired:
            stem = "expired"
        now = datetime.now(UTC)
        leaf = authority.issue_cert(
            f"{name}@client.invalid",
            common_name=name,
            organization_name="pullproof",
            organization_unit_name="client",
            not_before=now - timedelta(days=30),
            not_after=now + timedelta(days=-1 if expired else 365),
        )
        chain, key = Path(directory, f"{stem}.cert"), Path(directory, f"{stem}.key")
        chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(leaf.private_key_pem.bytes())
        return chain, key

    def valid(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate that is right in every way."""
        return self.get("valid", client_certificate_required=client_certificate_required)

    def expired(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate that ended yesterday."""
        return self.get("expired", client_certificate_required=client_certificate_required)

    def not_yet_valid(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate that begins in a year."""
        return self.get("not_yet_valid", client_certificate_required=client_certificate_required)

    def wrong_host(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate for another host name."""
        return self.get("wrong_host", client_certificate_required=client_certificate_required)

    def unknown_ca(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate by a CA that nobody was told of."""
        return self.get("unknown_ca", client_certificate_required=client_certificate_required)

    def self_signed(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate that vouches for itself."""
        return self.get("self_signed", client_certificate_required=client_certificate_required)

    def missing_intermediate(
        self, *, client_certificate_required: bool = False
    ) -> ServerCertificate:
        """Return a certificate by an intermediate CA that is not sent; its root is trusted."""
        required = client_certificate_required
        return self.get("missing_intermediate", client_certificate_required=required)

    def wrong_usage(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate that is meant for clients alone (RFC 5280, 4.2.1.12)."""
        return self.get("wrong_usage", client_certificate_required=client_certificate_required)

    def weak_key(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a certificate with an RSA key of 1024 bits."""
        return self.get("weak_key", client_certificate_required=client_certificate_required)

    def old_version(self, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return a valid certificate of a server that speaks TLS 1.1 and nothing newer."""
        return self.get("old_version", client_certificate_required=client_certificate_required)

    def get(self, fault: str, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return the certificate with a fault by its name; raises ValueError for an unknown one.

        Made once per process and set of names: a hundred registries may start and stop by it.
        """
        if fault not in FAULTS:
            raise ValueError(f"unknown certificate {fault!r}: one of {', '.join(FAULTS)}")
        with _MAKING:
            chain, private = _issued(self.names, fault)
        return ServerCertificate(fault, chain, private, client_certificate_required)


_MAKING = threading.Lock()


@functools.lru_cache(maxsize=64)
def _issued(names: tuple[str, ...], fault: str) -> tuple[bytes, bytes]:
    """Return a certificate with one fault and its key, PEM."""
    if fault == "self_signed":
        return certificate_by_hand(names, ec.generate_private_key(ec.SECP256R1()), None)
    if fault in ("wrong_usage", "weak_key"):
        return _odd(names, fault)
    now = datetime.now(UTC)
    authority = _stranger() if fault == "unknown_ca" else _authority()
    covered = (WRONG_HOST,) if fault == "wrong_host" else names
    start, stop = now - timedelta(days=30), now + timedelta(days=365)
    if fault == "expired":
        stop = now - timedelta(days=1)
    elif fault == "not_yet_valid":
        start, stop = now + timedelta(days=365), now + timedelta(days=730)
    elif fault == "missing_intermediate":
        authority = authority.create_child_ca()
    leaf = authority.issue_cert(*covered, common_name=covered[0], not_before=start, not_after=stop)
    # Of an intermediate's chain the leaf alone is sent; the others' chain is the leaf alone.
    return leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()


def _odd(names: tuple[str, ...], fault: str) -> tuple[bytes, bytes]:
    """Return a certificate by our CA that it wouldn't issue by itself."""
    if fault == "weak_key":
        weak = rsa.generate_private_key(public_exponent=65537, key_size=_WEAK_BITS)
        return certificate_by_hand(names, weak, _authority())
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate_by_hand(names, key, _authority(), ExtendedKeyUsageOID.CLIENT_AUTH)


def certificate_by_hand(
    names: tuple[str, ...],
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    authority: trustme.CA | None,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> tuple[bytes, bytes]:
    """Return a certificate and its key as PEM, for the right names and times.

    Signed by a CA, or by its own key.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    issuer, signer = name, key
    if authority is not None:
        issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
        own: Any = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
        signer = own
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if authority is not None:
        root = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
        identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = builder.add_extension(by, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def subject_of(certificate: Any) -> str | None:
    """Return the subject of a peer's certificate as `ssl` describes it: "CN=puller", or None."""
    if not certificate:
        return None
    short = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}
    pairs = [pair for group in certificate.get("subject", ()) for pair in group]
    return ", ".join(f"{short.get(name, name)}={value}" for name, value in pairs)
