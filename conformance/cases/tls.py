"""TLS: nobody is believed without a certificate, and nothing is said in the clear instead."""

from __future__ import annotations

from conformance.case import case
from conformance.contract import Evidence, Trust
from conformance.pulls import CasePuller, Pulled
from conformance.world import World, WorldRegistry
from fakeregistry import an_image


def _shown(
    world: World, registry: WorldRegistry, puller: CasePuller, words: str, fault: str
) -> Pulled:
    """Pull from a registry that shows a certificate with this fault."""
    certificates = world.certificates
    registry.tls = world.lie(
        words, certificates.get(fault), truth=certificates.valid(), where="certificate"
    )
    pulled = puller.pull(registry.add(an_image()))
    assert pulled.refused
    assert not registry.requests(), "a request was made in spite of the certificate"
    return pulled


@case("tls/unknown-ca-is-refused", covers="TLS-01", needs={Evidence.STATUS})
def unknown_ca(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A certificate by a CA that isn't trusted ends the pull before any request."""
    pulled = _shown(world, registry, puller, "an unknown CA signed the certificate", "unknown_ca")

    assert puller.has_not(pulled.request.image)


@case("tls/self-signed-is-refused", covers="TLS-01")
def self_signed(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A certificate that vouches for itself ends the pull before any request."""
    _shown(world, registry, puller, "the certificate is signed by itself", "self_signed")


@case("tls/wrong-host-is-refused", covers="TLS-02")
def wrong_host(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A certificate for another host name ends the pull before any request."""
    _shown(world, registry, puller, "the certificate is for another host", "wrong_host")


@case("tls/expired-is-refused", covers="TLS-02b")
def expired(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A certificate whose time is over ends the pull before any request."""
    _shown(world, registry, puller, "the certificate has expired", "expired")


@case("tls/not-yet-valid-is-refused", covers="TLS-02b")
def not_yet_valid(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A certificate whose time has not begun ends the pull before any request."""
    _shown(world, registry, puller, "the certificate begins in a year", "not_yet_valid")


@case("tls/given-ca-is-trusted", covers=("TLS-03", "TLS-24"))
def given_ca(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry whose CA the user gave is pulled from, by its own name in SNI and Host."""
    registry.tls = world.certificates.valid()
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.succeeded
    exchanges = registry.requests()
    assert {exchange.connection.sni for exchange in exchanges} == {registry.hostname}
    assert {exchange.host for exchange in exchanges} == {registry.host}


@case("tls/missing-client-certificate-is-refused", covers="TLS-17")
def missing_client_certificate(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Without the client certificate that is demanded the pull fails, and stays with TLS."""
    demanded = world.certificates.valid(client_certificate_required=True)
    registry.tls = world.lie(
        "a client certificate is demanded, and none is configured",
        demanded,
        truth=world.certificates.valid(),
        where="certificate",
    )
    image = registry.add(an_image())

    pulled = puller.pull(image)

    assert pulled.refused
    assert not registry.requests(), "a request was answered without the certificate"
    failures = [each.failure or "" for each in world.registries.journal.connections]
    assert not any("plain HTTP" in failure for failure in failures), "it was tried in the clear"


@case("tls/client-certificate-is-presented", covers="TLS-06")
def client_certificate(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A configured client certificate is presented to the registry that demands one."""
    registry.tls = world.certificates.valid(client_certificate_required=True)
    image = registry.add(an_image())
    certificate, key = world.client_certificate

    pulled = puller.pull(image, trust=Trust(world.ca_file, certificate, key))

    assert pulled.succeeded


@case("tls/no-downgrade-to-http", covers="TLS-19")
def no_downgrade(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A registry that is to be spoken to by https and answers plain http isn't pulled from."""
    secure = world.certificates.valid()
    registry.tls = world.lie("it speaks plain http", None, truth=secure, where="certificate")
    registry.add(an_image(), "app/web", "v1")
    host = f"{world.registries.host_name(registry.name, tls=True)}:{registry.port}"

    pulled = puller.pull(f"{host}/app/web:v1", trust=Trust(ca=world.ca_file))

    assert pulled.refused
    assert not registry.requests(), "a request was made in the clear"


@case("tls/switched-off-verification-accepts-any-certificate", covers="TLS-08")
def skip_verify(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """With verification switched off any certificate will do, and TLS is spoken all the same."""
    registry.tls = world.lie(
        "an unknown CA signed the certificate",
        world.certificates.unknown_ca(),
        truth=world.certificates.valid(),
        where="certificate",
    )
    image = registry.add(an_image())

    pulled = puller.pull(image, trust=Trust(ca=world.ca_file, skip_verify=True))

    assert pulled.succeeded
    assert {exchange.scheme for exchange in registry.requests()} == {"https"}
