"""Which hosts are asked for a registry's images, in which order, and how each is spoken to.

Two ways to say it, as in containerd's CRI: a tree of hosts.toml files (`Config.config_path`), or
the tables `mirrors` and `configs`. Both end as a list of `Host`; the files are read anew for each
pull, so that a change needs no restart (HOST-41).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode

from reference.config import AuthConfig, Config
from reference.errors import HostsConfigError
from reference.hostfile import (
    CAPABILITIES,
    PULL,
    RESOLVE,
    HostEntry,
    find_directory,
    load_directory,
    split_endpoint,
)
from reference.tls import TLSOptions, Trust

DOCKER_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class Host:
    """One host that may be asked, and everything that is particular to it."""

    scheme: str
    authority: str
    path: str = "/v2"
    capabilities: frozenset[str] = CAPABILITIES
    tls: TLSOptions = field(default_factory=TLSOptions)
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    dial_timeout: float | None = None
    origin: bool = True
    """Whether this is the registry that the image names (or its `server`), not a mirror of it."""
    auth: AuthConfig | None = field(default=None, hash=False, repr=False)
    """Credentials configured for this host itself."""

    def url(self, repository: str, kind: str, reference: str, namespace: str) -> str:
        """The URL of a manifest or blob; `ns` tells a mirror whose image is meant (HOST-12)."""
        path = "/".join((self.path.rstrip("/"), repository, kind, quote(reference, safe=":")))
        query = "?" + urlencode({"ns": namespace}) if self.is_proxy(namespace) else ""
        return f"{self.scheme}://{self.authority}{path}{query}"

    def is_proxy(self, namespace: str) -> bool:
        """Whether this host speaks for another registry."""
        return self.authority != namespace and self.authority != default_host(namespace)


class Hosts:
    """Finds the hosts of a registry."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.quirks = config.quirks

    def of(self, namespace: str) -> tuple[Host, ...]:
        """The hosts to ask for images of `namespace` (host[:port]), in the order to try them.

        Raises ConfigError when the configuration can't be used; certificates that can't be loaded
        are found here, before any request (TLS-04, TLS-15).
        """
        hosts = (
            self.from_files(namespace) if self.config.config_path else self.from_tables(namespace)
        )
        if self.quirks.localhost_unverified and is_localhost(namespace):
            # Of no use to http itself, but behind a redirect.
            unverified = TLSOptions(skip_verify=True)
            hosts = tuple(
                replace(host, tls=unverified)
                if (host.scheme, host.tls) == ("http", TLSOptions())
                else host
                for host in hosts
            )
        for host in hosts:
            if host.scheme == "https" and host.tls != TLSOptions():
                Trust(host.tls)
        return hosts

    def from_files(self, namespace: str) -> tuple[Host, ...]:
        """Hosts of the hosts.toml tree; without a directory there, the registry itself."""
        directory = find_directory(self.config.config_path, namespace)
        lenient = self.quirks.broken_hosts_files_ignored
        entries = load_directory(directory, lenient=lenient) if directory else (HostEntry(),)
        hosts = [self.from_entry(entry, namespace, origin=False) for entry in entries[:-1]]
        return (*hosts, self.from_entry(entries[-1], namespace, origin=True))

    def from_entry(self, entry: HostEntry, namespace: str, *, origin: bool) -> Host:
        """Complete one entry of a file with what it leaves open."""
        authority = entry.authority or default_host(namespace)
        return Host(
            scheme=entry.scheme or self.default_scheme(authority, entry.tls),
            authority=authority,
            path=entry.path if entry.authority else "/v2",
            capabilities=entry.capabilities if entry.authority else CAPABILITIES,
            tls=entry.tls or self.default_tls(),
            headers=entry.headers,
            dial_timeout=entry.dial_timeout,
            origin=origin,
            auth=self.auth_of(authority),
        )

    def from_tables(self, namespace: str) -> tuple[Host, ...]:
        """Hosts of `mirrors` and `configs`, and the registry itself where it isn't among them."""
        hosts = []
        for endpoint in self.endpoints(namespace):
            scheme, authority, path = split_endpoint(endpoint)
            hosts.append(
                Host(
                    scheme=scheme,
                    authority=authority,
                    path=path or "/v2",
                    tls=self.tls_of(authority) or self.default_tls(),
                    origin=authority in (namespace, default_host(namespace)),
                    auth=self.auth_of(authority),
                )
            )
        return tuple(hosts)

    def endpoints(self, namespace: str) -> list[str]:
        """The URLs to try; always a new list, the configuration belongs to all pulls (Q-01)."""
        mirrors = self.config.mirrors
        configured = mirrors[namespace] if namespace in mirrors else mirrors.get("*", ())
        endpoints = [self.add_scheme(endpoint) for endpoint in configured]
        own = default_host(namespace)
        names = {namespace} if self.quirks.docker_hub_twice else {namespace, own}
        if not any(split_endpoint(endpoint)[1] in names for endpoint in endpoints):
            endpoints.append(self.add_scheme(own))
        return endpoints

    def add_scheme(self, endpoint: str) -> str:
        """Put the default scheme before an endpoint without one."""
        if "://" in endpoint:
            return endpoint
        authority = endpoint.partition("/")[0]
        return f"{self.default_scheme(authority, self.tls_of(authority))}://{endpoint}"

    def default_scheme(self, authority: str, tls: TLSOptions | None) -> str:
        """http for hosts known as plain and for this machine without TLS settings, else https."""
        if self.config.plain_http & {authority, "*"}:
            return "http"
        settings = tls is not None or self.config.tls is not None
        settings = settings and not self.quirks.localhost_is_http
        return "http" if is_localhost(authority) and not settings else "https"

    def default_tls(self) -> TLSOptions:
        """TLS of a host that has no settings of its own."""
        return TLSOptions.from_config(self.config.tls) if self.config.tls else TLSOptions()

    def tls_of(self, authority: str) -> TLSOptions | None:
        """TLS that `configs` has for this very host."""
        found = self.config.configs.get(authority)
        if not (found and found.tls):
            return None
        return TLSOptions.from_config(found.tls, lenient=self.quirks.ca_files_may_be_empty)

    def auth_of(self, authority: str) -> AuthConfig | None:
        """Credentials that the configuration keeps for this very host."""
        found = self.config.configs.get(authority)
        return found.auth if found else None

    def capable(self, hosts: tuple[Host, ...], *capabilities: str) -> tuple[Host, ...]:
        """Those that may be asked for it; a tag needs `resolve`, because its answer is trusted."""
        return tuple(host for host in hosts if host.capabilities.issuperset(capabilities))

    def for_tags(self, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
        """The hosts that are trusted to say what a tag means (HOST-30)."""
        return self.require(self.capable(hosts, PULL, RESOLVE), "resolve")

    def for_content(self, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
        """The hosts that may be asked for content by digest."""
        return self.require(self.capable(hosts, PULL), "pull")

    def for_fetching(self, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
        """The hosts that are asked for content."""
        capable = self.for_content(hosts)
        return hosts if self.quirks.capabilities_ignored else capable

    def require(self, hosts: tuple[Host, ...], what: str) -> tuple[Host, ...]:
        """Refuse an empty list (HOST-31)."""
        if not hosts:
            raise HostsConfigError(f"no {what} hosts: no configured host has the capability")
        return hosts


def default_host(namespace: str) -> str:
    """Where a registry really is: Docker Hub has another host than its name."""
    return DOCKER_HUB if namespace == "docker.io" else namespace


def is_localhost(authority: str) -> bool:
    """Whether `authority` (host[:port]) is this machine by its name or address (HOST-10)."""
    bare_address = authority.count(":") > 1 and not authority.startswith("[")
    host = authority if bare_address else re.sub(r":[0-9]+$", "", authority)
    host = host.removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
