"""Mutants that believe certificates, or do without."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import replace

from conformance.mutate import mutant
from reference.errors import TLSError, TransportError
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
        "incident/certificate-by-an-unknown-ca",
        "incident/certificate-chain-lacks-the-intermediate",
        "incident/certificate-has-expired",
        "incident/certificate-is-for-another-host",
        "incident/certificate-is-for-clients-alone",
        "incident/certificate-is-not-yet-valid",
        "incident/certificate-signed-by-itself",
        "incident/mirror-certificate-has-expired",
        "incident/unverified-mirror-verified-registry",
        "tls/expired-is-refused",
        "tls/not-yet-valid-is-refused",
        "tls/self-signed-is-refused",
        "tls/unknown-ca-is-refused",
        "tls/wrong-host-is-refused",
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


@mutant(
    "any-name-will-do",
    area="tls",
    kills={
        "incident/certificate-is-for-another-host",
        "tls/wrong-host-is-refused",
    },
)
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
    kills={
        "incident/certificate-has-expired",
        "incident/certificate-is-not-yet-valid",
        "incident/mirror-certificate-has-expired",
        "tls/expired-is-refused",
        "tls/not-yet-valid-is-refused",
    },
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
    kills={
        "incident/mirror-wants-a-client-certificate",
        "tls/client-certificate-is-presented",
        "tls/given-ca-is-trusted",
    },
)
class GivenCaIsIgnored(Puller):
    """Trusts the system's roots, and not the CA that it was given."""

    transport = _SystemOnly


class _NoCertificate(_Otherwise):
    def options(self, tls: TLSOptions) -> TLSOptions:
        """Without a certificate of our own."""
        return replace(tls, client_pairs=())


@mutant(
    "no-client-certificate",
    area="tls",
    kills={
        "incident/mirror-wants-a-client-certificate",
        "tls/client-certificate-is-presented",
    },
)
class NoClientCertificate(Puller):
    """Never presents its certificate."""

    transport = _NoCertificate


class _Strict(_Otherwise):
    def options(self, tls: TLSOptions) -> TLSOptions:
        """Verified, whatever was asked for."""
        return replace(tls, skip_verify=False)


@mutant(
    "always-verifies",
    area="tls",
    kills={
        "incident/unverified-host-by-tag-and-by-digest",
        "tls/switched-off-verification-accepts-any-certificate",
    },
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
    kills={
        "incident/http-answers-on-the-https-port",
        "incident/localhost-answers-http-where-https-was-asked-for",
        "incident/tls-is-broken-and-http-asks-for-a-login",
        "tls/missing-client-certificate-is-refused",
        "tls/no-downgrade-to-http",
    },
)
class PlainHttpWhereTlsFails(Puller):
    """Asks once more in the clear where TLS has failed."""

    transport = _Downgrading


class _NeverMind(Transport):
    def hop(self, ask: Ask) -> Answer:
        """Whatever it was: if not so, then in the clear."""
        try:
            return super().hop(ask)
        except TransportError:
            if ask.scheme != "https":
                raise
            return super().hop(replace(ask, url=ask.url.replace("https:", "http:", 1)))


@mutant(
    "plain-http-where-nobody-answers",
    area="tls",
    kills={
        "incident/http-answers-on-the-https-port",
        "incident/localhost-answers-http-where-https-was-asked-for",
        "incident/tls-hello-is-closed",
        "incident/tls-hello-is-reset",
        "incident/tls-is-broken-and-http-asks-for-a-login",
        "tls/missing-client-certificate-is-refused",
        "tls/no-downgrade-to-http",
    },
)
class PlainHttpWhereNobodyAnswers(Puller):
    """Asks once more in the clear where a connection has failed, in whatever way."""

    transport = _NeverMind


class _OldVersions(Transport):
    def trust(self, tls: TLSOptions) -> Trust:
        """For the sake of old machines."""
        found = super().trust(tls)
        found.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found.context.minimum_version = ssl.TLSVersion.TLSv1
        return found


@mutant("speaks-old-tls", area="tls", kills={"incident/tls-one-point-one-and-nothing-newer"})
class SpeaksOldTls(Puller):
    """Agrees to versions of TLS that nobody should speak any more."""

    transport = _OldVersions


class _Tireless(Transport):
    def hop(self, ask: Ask) -> Answer:
        """It may have been an accident."""
        for _ in range(15):
            try:
                return super().hop(ask)
            except TransportError:
                if ask.scheme != "https":
                    raise
        return super().hop(ask)


@mutant(
    "repeats-what-tls-refuses",
    area="tls",
    kills={
        "incident/certificate-by-an-unknown-ca",
        "incident/certificate-chain-lacks-the-intermediate",
        "incident/certificate-has-expired",
        "incident/certificate-is-for-another-host",
        "incident/certificate-is-for-clients-alone",
        "incident/certificate-is-not-yet-valid",
        "incident/certificate-signed-by-itself",
        "incident/client-certificate-by-a-stranger",
        "incident/client-certificate-is-missing",
        "incident/tls-one-point-one-and-nothing-newer",
    },
)
class RepeatsWhatTlsRefuses(Puller):
    """Tries a handshake again and again, as if the certificate would change."""

    transport = _Tireless
