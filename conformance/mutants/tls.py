"""Mutants that believe certificates, or do without."""

from __future__ import annotations

import ssl
from dataclasses import replace

from conformance.mutate import mutant
from reference.errors import TLSError
from reference.pull import Puller
from reference.tls import TLSOptions, Trust
from reference.transport import Answer, Ask, Transport

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which `ssl` has no name."""


class _Otherwise(Transport):
    """Speaks TLS with other options than it was told."""

    def options(self, tls: TLSOptions) -> TLSOptions:
        """What takes their place."""
        return tls

    def trust(self, tls: TLSOptions) -> Trust:
        """By those."""
        return super().trust(self.options(tls))


class _Trusting(_Otherwise):
    def options(self, tls: TLSOptions) -> TLSOptions:
        """Anybody."""
        return replace(tls, skip_verify=True)


@mutant(
    "any-certificate-will-do",
    area="tls",
    kills={
        "tls/unknown-ca-is-refused",
        "tls/self-signed-is-refused",
        "tls/wrong-host-is-refused",
        "tls/expired-is-refused",
        "tls/not-yet-valid-is-refused",
    },
)
class AnyCertificateWillDo(Puller):
    """Doesn't verify certificates."""

    transport = _Trusting


class _AnyName(Transport):
    def trust(self, tls: TLSOptions) -> Trust:
        """A certificate is a certificate."""
        found = super().trust(tls)
        found.context.check_hostname = False
        return found


@mutant("any-name-will-do", area="tls", kills={"tls/wrong-host-is-refused"})
class AnyNameWillDo(Puller):
    """Verifies who signed a certificate, and not for whom."""

    transport = _AnyName


class _Timeless(Transport):
    def trust(self, tls: TLSOptions) -> Trust:
        """Without a clock."""
        found = super().trust(tls)
        found.context.verify_flags |= _NO_CHECK_TIME
        return found


@mutant(
    "any-time-will-do",
    area="tls",
    kills={"tls/expired-is-refused", "tls/not-yet-valid-is-refused"},
)
class AnyTimeWillDo(Puller):
    """Doesn't look at a certificate's dates."""

    transport = _Timeless


class _SystemOnly(_Otherwise):
    def options(self, tls: TLSOptions) -> TLSOptions:
        """The system's roots alone."""
        return replace(tls, ca_files=())


@mutant(
    "given-ca-is-ignored",
    area="tls",
    kills={"tls/given-ca-is-trusted", "tls/client-certificate-is-presented"},
)
class GivenCaIsIgnored(Puller):
    """Trusts the system's roots, and not the CA that it was given."""

    transport = _SystemOnly


class _NoCertificate(_Otherwise):
    def options(self, tls: TLSOptions) -> TLSOptions:
        """Without a certificate of our own."""
        return replace(tls, client_pairs=())


@mutant("no-client-certificate", area="tls", kills={"tls/client-certificate-is-presented"})
class NoClientCertificate(Puller):
    """Never presents its certificate."""

    transport = _NoCertificate


class _Strict(_Otherwise):
    def options(self, tls: TLSOptions) -> TLSOptions:
        """Verified, whatever was asked for."""
        return replace(tls, skip_verify=False)


@mutant(
    "always-verifies", area="tls", kills={"tls/switched-off-verification-accepts-any-certificate"}
)
class AlwaysVerifies(Puller):
    """Verifies certificates though it was told not to."""

    transport = _Strict


class _Downgrading(Transport):
    def hop(self, ask: Ask) -> Answer:
        """If not so, then in the clear."""
        try:
            return super().hop(ask)
        except TLSError:
            return super().hop(replace(ask, url=ask.url.replace("https:", "http:", 1)))


@mutant(
    "plain-http-where-tls-fails",
    area="tls",
    kills={"tls/no-downgrade-to-http", "tls/missing-client-certificate-is-refused"},
)
class PlainHttpWhereTlsFails(Puller):
    """Asks once more in the clear where TLS has failed."""

    transport = _Downgrading
