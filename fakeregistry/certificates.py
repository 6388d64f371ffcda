"""Certificates: one fault each, everything else about them valid. ECDSA only.

One CA per process serves every topology: making one costs little, trusting one is global enough.
"""

from __future__ import annotations

import functools
import ssl
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
WRONG_HOST = "wrong-host.invalid"
FAULTS = ("valid", "expired", "not_yet_valid", "wrong_host", "unknown_ca", "self_signed")


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

    def context(self) -> ssl.SSLContext:
        """Return the server's TLS context (made once per certificate)."""
        return _context(self)


@functools.lru_cache(maxsize=64)
def _context(certificate: ServerCertificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TLSSocket
    context.sni_callback = _remember_name
    context.set_alpn_protocols(["http/1.1"])
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
        self._lock = threading.Lock()
        self._made: dict[tuple[str, bool], ServerCertificate] = {}

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

    def client_certificate(self, directory: Path | str, name: str = "puller") -> tuple[Path, Path]:
        """Write a client certificate by this CA; return the files `client.cert`, `client.key`."""
        leaf = _authority().issue_cert(
            f"{name}@client.invalid",
            common_name=name,
            organization_name="pullproof",
            organization_unit_name="client",
        )
        chain, key = Path(directory, "client.cert"), Path(directory, "client.key")
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

    def get(self, fault: str, *, client_certificate_required: bool = False) -> ServerCertificate:
        """Return the certificate with a fault by its name; raises ValueError for an unknown one."""
        if fault not in FAULTS:
            raise ValueError(f"unknown certificate {fault!r}: one of {', '.join(FAULTS)}")
        with self._lock:
            key = (fault, client_certificate_required)
            if key not in self._made:
                chain, private = self._issue(fault)
                self._made[key] = ServerCertificate(fault, chain, private, key[1])
            return self._made[key]

    def _issue(self, fault: str) -> tuple[bytes, bytes]:
        if fault == "self_signed":
            return _self_signed(self.names)
        now = datetime.now(UTC)
        authority = _stranger() if fault == "unknown_ca" else _authority()
        names = (WRONG_HOST,) if fault == "wrong_host" else self.names
        start, stop = now - timedelta(days=30), now + timedelta(days=365)
        if fault == "expired":
            stop = now - timedelta(days=1)
        elif fault == "not_yet_valid":
            start, stop = now + timedelta(days=365), now + timedelta(days=730)
        leaf = authority.issue_cert(*names, common_name=names[0], not_before=start, not_after=stop)
        chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
        return chain, leaf.private_key_pem.bytes()


def _self_signed(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """Return a certificate signed by its own key, for the right names and times."""
    import ipaddress

    def general(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([general(n) for n in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def subject_of(certificate: Any) -> str | None:
    """Return the subject of a peer's certificate as `ssl` describes it: "CN=puller", or None."""
    if not certificate:
        return None
    short = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}
    pairs = [pair for group in certificate.get("subject", ()) for pair in group]
    return ", ".join(f"{short.get(name, name)}={value}" for name, value in pairs)
