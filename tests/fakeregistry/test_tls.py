"""Certificates: valid ones, and one fault each, judged by the TLS library that clients use."""

import ssl
import warnings

import httpx
import pytest
from cryptography import x509
from rawclient import Raw

from fakeregistry import Certificates, Registries, Registry, an_image, bearer
from fakeregistry.wire.certificates import FAULTS


def handshake(registries: Registries, registry: Registry, **client: str) -> dict:
    context = registries.certificates.client_context()
    if client:
        context.load_cert_chain(client["chain"], client["key"])
    with Raw(registry, context) as raw:
        raw.ask("/v2/").answer()
        return raw.sock.getpeercert()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("wrong_host", "IP address mismatch"),
        ("unknown_ca", "unable to get local issuer certificate"),
        ("self_signed", "self-signed certificate"),
        ("missing_intermediate", "unable to get local issuer certificate"),
        ("wrong_usage", "unsuitable certificate purpose"),
        ("weak_key", "EE certificate key too weak"),
    ],
)
def test_each_fault_is_the_only_one(registries, registry, fault, message) -> None:
    registry.tls = registries.certificates.get(fault)
    with pytest.raises(ssl.SSLCertVerificationError, match=message):
        handshake(registries, registry)
    assert registry.requests() == []
    [connection] = registries.journal.connections
    assert registries.journal.wait_for(lambda _: connection.closed is not None)
    assert connection.failure is not None
    assert connection.failure.startswith("TLS: ")
    # The same certificate, with the one check that it fails left out.
    context = ssl.create_default_context()
    context.check_hostname = fault != "wrong_host"
    pem = (
        registry.tls.chain.decode() if fault in ("self_signed",) else registries.certificates.ca_pem
    )
    context.load_verify_locations(cadata=pem)
    if fault == "weak_key":
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if fault in ("expired", "not_yet_valid", "unknown_ca", "missing_intermediate", "wrong_usage"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with Raw(registry, context) as raw:
        assert raw.ask("/v2/").answer().status == 200


def test_an_intermediate_is_all_that_is_missing() -> None:
    leaf, root = (
        x509.load_pem_x509_certificate(pem.encode())
        for pem in (
            Certificates().missing_intermediate().chain.decode(),
            Certificates().ca_pem,
        )
    )
    assert len(x509.load_pem_x509_certificates(Certificates().missing_intermediate().chain)) == 1
    assert leaf.issuer != root.subject
    with pytest.raises(ValueError, match="Issuer"):
        leaf.verify_directly_issued_by(root)


def test_a_wrong_usage_is_all_that_is_wrong() -> None:
    certificates = Certificates()
    leaf = x509.load_pem_x509_certificate(certificates.wrong_usage().chain)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(certificates.ca_pem.encode()))
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_weak_key_is_all_that_is_weak() -> None:
    certificates = Certificates()
    leaf = x509.load_pem_x509_certificate(certificates.weak_key().chain)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(certificates.ca_pem.encode()))
    assert leaf.public_key().key_size == 1024
    assert leaf.signature_hash_algorithm.name == "sha256"


def test_an_old_version_has_a_valid_certificate(registries, registry) -> None:
    registry.tls = registries.certificates.old_version()
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported protocol|protocol version"):
        handshake(registries, registry)
    [connection] = registries.journal.connections
    assert registries.journal.wait_for(lambda _: connection.closed is not None)
    assert connection.failure.startswith("TLS: ")
    context = registries.certificates.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    with Raw(registry, context) as raw:
        assert raw.ask("/v2/").answer().status == 200
        assert raw.sock.version() == "TLSv1.1"
    assert registry.requests()[0].connection.tls == "TLSv1.1"


def test_all_faults_are_covered() -> None:
    certificates = Certificates()
    assert all(getattr(certificates, fault)().fault == fault for fault in FAULTS)
    with pytest.raises(ValueError, match="unknown certificate 'late'"):
        certificates.get("late")


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "wrong_host"])
def test_names_cover_loopback_and_the_topology(fault) -> None:
    certificate = Certificates(["registry.test"]).get(fault)
    leaf = x509.load_pem_x509_certificates(certificate.chain)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {"localhost", "127.0.0.1", "::1", "registry.test"}


def test_a_valid_certificate_and_what_the_journal_says(registries, registry, tmp_path) -> None:
    registry.tls = registries.certificates.valid()
    image = registry.add(an_image())
    context = ssl.create_default_context(cafile=str(registries.certificates.ca_file(tmp_path)))
    with httpx.Client(verify=context, trust_env=False) as client:
        for _ in range(2):
            assert (
                client.get(registry.url_for("/v2/app/web/manifests/v1")).content == image.manifest
            )
    assert registry.base_url.startswith("https://")
    [first, second] = registry.requests()
    assert first.connection is second.connection
    assert first.scheme == "https"
    assert (first.connection.tls, first.connection.alpn) == ("TLSv1.3", "http/1.1")


def test_names_of_a_topology(tmp_path) -> None:
    names = {"origin": "127.0.0.1", "origin-tls": "localhost"}
    with Registries(names=names) as registries:
        registry = registries.registry()
        image = registry.add(an_image())
        assert image.reference.startswith("127.0.0.1:")
        registry.tls = registries.certificates.valid()
        assert image.reference.startswith("localhost:")
        context = registries.certificates.client_context()
        with Raw(registry, context) as raw:
            raw.ask("/v2/").answer()
        assert registry.requests()[0].connection.sni == "localhost"
        registry.auth = bearer()
        assert registry.auth.realm.startswith("https://localhost:")


def test_a_client_certificate_can_be_required(registries, registry, tmp_path) -> None:
    registry.tls = registries.certificates.valid(client_certificate_required=True)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        handshake(registries, registry)
    assert registry.requests() == []
    chain, key = registries.certificates.client_certificate(tmp_path)
    assert key.stat().st_mode & 0o077 == 0
    handshake(registries, registry, chain=str(chain), key=str(key))
    [exchange] = registry.requests()
    assert exchange.connection.client_certificate == "O=pullproof, OU=client, CN=puller"


def test_a_strangers_client_certificate_is_refused(registries, registry, tmp_path) -> None:
    registry.tls = registries.certificates.valid(client_certificate_required=True)
    stranger = registries.certificates.unknown_ca()
    (tmp_path / "c.pem").write_bytes(stranger.chain + stranger.key)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        handshake(registries, registry, chain=str(tmp_path / "c.pem"), key=str(tmp_path / "c.pem"))
    assert registry.requests() == []


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, None),
        ({"known": False}, "certificate verify failed"),
        ({"expired": True}, "certificate verify failed"),
    ],
)
def test_client_certificates_that_a_client_can_offer(
    registries, registry, tmp_path, how, said
) -> None:
    registry.tls = registries.certificates.valid(client_certificate_required=True)
    chain, key = registries.certificates.client_certificate(tmp_path, **how)
    if said is None:
        handshake(registries, registry, chain=str(chain), key=str(key))
        return
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)) as refusal:
        handshake(registries, registry, chain=str(chain), key=str(key))
    alert = {"known": "unknown ca", "expired": "certificate expired"}[next(iter(how))]
    assert alert in str(refusal.value)
    [connection] = registries.journal.connections
    assert registries.journal.wait_for(lambda _: connection.closed is not None)
    assert connection.failure == f"TLS: {said}"
    assert registry.requests() == []


def test_without_a_client_certificate_nobody_is_served(registries, registry) -> None:
    registry.tls = registries.certificates.valid(client_certificate_required=True)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)) as refusal:
        handshake(registries, registry)
    assert "certificate required" in str(refusal.value)


def test_tls_can_be_changed_while_listening(registries, registry) -> None:
    with Raw(registry) as raw:
        assert raw.ask("/v2/").answer().status == 200
        registry.tls = registries.certificates.valid()
        assert raw.ask("/v2/").answer().status == 200, "an open connection stays as it is"
    handshake(registries, registry)
    registry.tls = None
    with Raw(registry) as raw:
        assert raw.ask("/v2/").answer().status == 200
