"""The proxy that the environment names: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from reference.errors import ConfigError, safe_url

_WITH_PORT = re.compile(r"(?P<host>[^:]+|\[[^]]+\]):(?P<port>[0-9]+)")


def environment_proxy(url: str) -> str | None:
    """The URL of the proxy for `url`, None to connect directly."""
    parts = urlsplit(url)
    proxy = _environment(f"{parts.scheme}_proxy") or _environment("all_proxy")
    if not proxy or bypassed(_environment("no_proxy"), parts.hostname or "", parts.port):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def check_proxy(proxy: str) -> str:
    """Return `proxy`; ConfigError where it is no HTTP proxy. User and password stay untold."""
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"can't use the proxy {safe_url(proxy)}: expected http(s)://[user:password@]host[:port]"
        )
    return proxy


def bypassed(no_proxy: str, host: str, port: int | None) -> bool:
    """Whether a NO_PROXY list names the host: domains, addresses, networks, each maybe with a port.

    A domain stands for its subdomains too; ``*`` for everything.
    """
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(_names(entry, host, port) for entry in entries if entry)


def _names(entry: str, host: str, port: int | None) -> bool:
    if match := _WITH_PORT.fullmatch(entry):
        if port != int(match["port"]):
            return False
        entry = match["host"]
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        domain = entry.lstrip("*").lstrip(".")
        return host == domain or host.endswith(f".{domain}")


def _environment(name: str) -> str:
    # Under CGI a request's "Proxy:" header becomes HTTP_PROXY: only lower case is trusted there.
    upper = "" if name == "http_proxy" and "REQUEST_METHOD" in os.environ else name.upper()
    return (os.environ.get(name) or os.environ.get(upper) or "").strip()
