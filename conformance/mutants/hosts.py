"""Mutants that ask the wrong host, give up at the first, or tell one what is another's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from conformance.mutate import mutant
from reference.auth import Authorizer
from reference.config import AuthConfig, Request
from reference.descriptors import Descriptor
from reference.errors import (
    AuthError,
    ConfigError,
    NotFound,
    PullError,
    RegistryError,
    TransportError,
)
from reference.hosts import Host, Hosts, default_host
from reference.progress import Cancellation
from reference.pull import Pulled, Puller
from reference.remote import Remote
from reference.store import Store
from reference.transport import Answer, Ask


class _OriginFirst(Hosts):
    def of(self, namespace: str) -> tuple[Host, ...]:
        """The registry itself, then the others."""
        hosts = super().of(namespace)
        return (hosts[-1], *hosts[:-1])


@mutant(
    "registry-before-mirrors",
    area="hosts",
    kills={
        "hosts/mirror-is-asked-first",
        "hosts/mirrors-are-asked-in-order",
        "hosts/mirror-is-asked-by-its-own-name",
        "hosts/ns-goes-to-mirrors-alone",
    },
)
class RegistryBeforeMirrors(Puller):
    """Asks the registry itself before its mirrors."""

    hosts = _OriginFirst


class _LastMirrorFirst(Hosts):
    def of(self, namespace: str) -> tuple[Host, ...]:
        """The mirrors from behind."""
        hosts = super().of(namespace)
        return (*reversed(hosts[:-1]), hosts[-1])


@mutant("last-mirror-first", area="hosts", kills={"hosts/mirrors-are-asked-in-order"})
class LastMirrorFirst(Puller):
    """Asks mirrors in the reverse of their order."""

    hosts = _LastMirrorFirst


class _NamesTheRegistry(Remote):
    def request(
        self, host: Host, method: str, url: str, headers: dict[str, str], authority: str | None
    ) -> Ask:
        """Host is whoever the image names."""
        ask = super().request(host, method, url, headers, authority)
        return replace(ask, private=(*ask.private, ("Host", self.name.domain)))


@mutant(
    "mirror-is-called-by-the-registrys-name",
    area="hosts",
    kills={"hosts/mirror-is-asked-by-its-own-name"},
)
class MirrorIsCalledByTheRegistrysName(Puller):
    """Sends the registry's name in Host to a mirror."""

    remote = _NamesTheRegistry


class _Final(Remote):
    """Takes one kind of failure for the end, where it should go on to the next host."""

    kind: type[PullError] = PullError

    def is_final(self, error: PullError) -> bool:
        """Whether nobody else is asked after this."""
        return isinstance(error, self.kind)

    def ask(self, *arguments: Any, **options: Any) -> Answer:
        """No other host is asked after an error that isn't a host's."""
        try:
            return super().ask(*arguments, **options)
        except PullError as error:
            if self.is_final(error):
                raise ConfigError(str(error)) from None
            raise


class _FinalNotFound(_Final):
    kind = NotFound


@mutant(
    "mirrors-404-is-final",
    area="hosts",
    kills={
        "hosts/header-only-to-its-host",
        "hosts/mirror-404-falls-back",
        "hosts/mirror-without-blobs-falls-back",
        "incident/cache-answers-head-404-until-it-was-fetched",
        "incident/foreign-layer-only-at-its-url",
        "incident/mirror-lacks-a-blob",
        "incident/mirror-lacks-the-tag",
        "incident/mirror-resolves-a-tag-it-lacks",
    },
)
class Mirrors404IsFinal(Puller):
    """Believes a mirror that there is no such image."""

    remote = _FinalNotFound


class _FinalServerError(_Final):
    def is_final(self, error: PullError) -> bool:
        """An error of the server's own."""
        return isinstance(error, RegistryError) and error.status >= 500


@mutant(
    "mirrors-5xx-is-final",
    area="hosts",
    kills={
        "hosts/mirror-5xx-falls-back",
        "incident/mirror-fails-on-a-layer",
        "incident/mirror-fails-on-head-alone",
        "incident/mirror-fails-on-manifest-get",
        "incident/mirror-fails-on-the-config",
        "incident/mirror-has-an-internal-error",
        "incident/mirror-is-a-bad-gateway",
        "incident/mirror-is-down-behind-its-ingress",
        "incident/mirror-turns-401-into-500",
    },
)
class Mirrors5xxIsFinal(Puller):
    """Ends where a mirror is out of order."""

    remote = _FinalServerError


class _FinalLogin(_Final):
    kind = AuthError


@mutant(
    "mirrors-401-is-final",
    area="hosts",
    kills={
        "hosts/mirror-401-falls-back",
        "incident/mirror-denies-the-repository",
        "incident/mirror-says-401-without-a-challenge",
        "incident/mirror-token-service-forbids",
        "incident/mirror-wants-another-login",
    },
)
class Mirrors401IsFinal(Puller):
    """Ends where a mirror asks for a login."""

    remote = _FinalLogin


class _FinalConnection(_Final):
    kind = TransportError


@mutant(
    "unreachable-is-final",
    area="hosts",
    kills={
        "hosts/unreachable-mirror-falls-back",
        "incident/mirror-breaks-the-tls-handshake",
        "incident/mirror-certificate-has-expired",
        "incident/mirror-name-does-not-resolve",
        "incident/mirror-refuses-connections",
        "incident/mirror-token-service-is-down",
    },
)
class UnreachableIsFinal(Puller):
    """Ends where a mirror can't be reached."""

    remote = _FinalConnection


class _Unverified(Store):
    def verify_digest(self, descriptor: Descriptor, actual: str) -> None:
        """A mirror of our own won't lie."""


@mutant(
    "mirror-content-is-not-verified",
    area="hosts",
    kills={
        "hosts/corrupt-mirror-content-is-never-accepted",
        "incident/mirror-serves-another-upstreams-image",
    },
)
class MirrorContentIsNotVerified(Puller):
    """Stores what a mirror sends without looking at its digest."""

    store = _Unverified


class _AnybodyForTags(Hosts):
    def for_tags(self, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
        """Whoever has content knows tags."""
        return self.for_content(hosts)


@mutant(
    "any-mirror-resolves-tags",
    area="hosts",
    kills={"hosts/pull-only-mirror-is-not-asked-for-tags"},
)
class AnyMirrorResolvesTags(Puller):
    """Asks for tags at mirrors that aren't trusted with them."""

    hosts = _AnybodyForTags


class _AllProxies(Host):
    def is_proxy(self, namespace: str) -> bool:
        """Everybody."""
        return True


class _ProxiesOnly(Hosts):
    def of(self, namespace: str) -> tuple[Host, ...]:
        """The same hosts, and each a proxy."""
        return tuple(_AllProxies(**vars(host)) for host in super().of(namespace))


@mutant(
    "ns-to-everybody",
    area="hosts",
    kills={
        "hosts/ns-goes-to-mirrors-alone",
        "incident/ns-stays-with-the-mirror",
    },
)
class NsToEverybody(Puller):
    """Sends `ns` to the registry itself as well."""

    hosts = _ProxiesOnly


class _NoProxies(Host):
    def is_proxy(self, namespace: str) -> bool:
        """Nobody."""
        return False


class _NobodyIsTold(Hosts):
    def of(self, namespace: str) -> tuple[Host, ...]:
        """The same hosts, and none a proxy."""
        return tuple(_NoProxies(**vars(host)) for host in super().of(namespace))


@mutant(
    "ns-to-nobody",
    area="hosts",
    kills={"hosts/ns-goes-to-mirrors-alone", "incident/mirror-needs-ns"},
)
class NsToNobody(Puller):
    """Doesn't tell a mirror whose image is meant."""

    hosts = _NobodyIsTold


class _Open(Authorizer):
    def may_see(self, host: Host) -> bool:
        """Whoever asks."""
        return self.auth is not None


@mutant(
    "password-to-mirrors",
    area="hosts",
    kills={
        "hosts/upstream-credentials-stay-from-mirror",
        "incident/mirror-asks-for-a-token",
        "incident/mirror-wants-another-login",
    },
)
class PasswordToMirrors(Puller):
    """Gives the registry's password to whatever mirror asks for one."""

    authorizer = _Open


class _SharedHeaders(Hosts):
    def of(self, namespace: str) -> tuple[Host, ...]:
        """Each with the headers of all."""
        hosts = super().of(namespace)
        headers = {name: value for host in hosts for name, value in host.headers.items()}
        return tuple(replace(host, headers=headers) for host in hosts)


@mutant("headers-go-to-all-hosts", area="hosts", kills={"hosts/header-only-to-its-host"})
class HeadersGoToAllHosts(Puller):
    """Sends the headers of one host to every host."""

    hosts = _SharedHeaders


class _RegistryToo(Hosts):
    def of(self, namespace: str) -> tuple[Host, ...]:
        """The hosts as they are told, and the registry that the image names."""
        hosts = super().of(namespace)
        own = default_host(namespace)
        if any(host.authority == own for host in hosts):
            return hosts
        return (*hosts, Host(self.default_scheme(own, None), own, tls=self.default_tls()))


@mutant(
    "registry-is-asked-in-any-case",
    area="hosts",
    kills={"incident/mirror-in-place-of-the-registry"},
)
class RegistryIsAskedInAnyCase(Puller):
    """Asks the registry that the image names in the end, though another host stands for it."""

    hosts = _RegistryToo


class _OneTrust(Hosts):
    def of(self, namespace: str) -> tuple[Host, ...]:
        """Nobody is verified where one isn't to be."""
        hosts = super().of(namespace)
        if not any(host.tls.skip_verify for host in hosts):
            return hosts
        return tuple(replace(host, tls=replace(host.tls, skip_verify=True)) for host in hosts)


@mutant(
    "unverified-for-one-unverified-for-all",
    area="hosts",
    kills={"incident/unverified-mirror-verified-registry"},
)
class UnverifiedForOneUnverifiedForAll(Puller):
    """Verifies no host of an image as soon as one of them isn't to be verified."""

    hosts = _OneTrust


@mutant(
    "first-login-for-every-registry",
    area="hosts",
    kills={"incident/two-registries-with-one-path"},
)
class FirstLoginForEveryRegistry(Puller):
    """Keeps the first account that it is given, and logs in by it wherever it is asked."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """With the account that is known."""
        kept = self.root / "login.json"
        if request.auth is not None and not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps([request.auth.username, request.auth.password]))
        elif kept.exists():
            username, password = json.loads(kept.read_text())
            request = replace(request, auth=AuthConfig(username=username, password=password))
        return super().pull(request, cancellation=cancellation)
