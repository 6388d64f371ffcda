"""`hosts.toml` and the older certs.d layout: the files that say where a registry's images are.

Format: containerd's `docs/hosts.md` (behaviours, sections 3.1 and 3.2). Per root the directories
`<host>_<port>_`, `<host>:<port>` and `_default` are looked for; the first that exists counts.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reference.errors import HostsConfigError, safe_url
from reference.tls import TLSOptions

PULL, RESOLVE, PUSH = "pull", "resolve", "push"
CAPABILITIES = frozenset({PULL, RESOLVE, PUSH})
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)")
_LONGEST = (2**63 - 1) / 1e9
"""Seconds: Go counts nanoseconds in 64 bits."""


@dataclass(frozen=True)
class HostEntry:
    """One host of a file. Without `authority` it is the registry's own host."""

    scheme: str = ""
    authority: str = ""
    path: str = ""
    capabilities: frozenset[str] = CAPABILITIES
    tls: TLSOptions | None = None
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dial_timeout: float | None = None


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration such as ``1m30s`` or ``500ms``; ValueError if none."""
    parts = _DURATION.findall(text)
    if text == "0":
        return 0.0
    if not parts or "".join(parts) != text:
        raise ValueError(f"invalid duration {text!r}: expected for instance 300ms, 10s or 1m30s")
    total = 0.0
    for part in parts:
        number = part.rstrip("nuµμmsh")
        total += float(number) * _UNITS[part[len(number) :]]
    if total > _LONGEST:
        raise ValueError(f"invalid duration {text!r}: more than {_LONGEST:.0f} seconds")
    return total


def find_directory(roots: Iterable[Path], authority: str) -> Path | None:
    """The directory of `authority` in the first root that has one (HOST-14, HOST-15)."""
    host, colon, port = authority.rpartition(":")
    with_port = [f"{host}_{port}_"] if colon and host and port.isdigit() else []
    for root in roots:
        for candidate in (*with_port, authority, "_default"):
            try:
                directory = root / candidate
                directory.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:  # ValueError: no path has a NUL in it
                why = getattr(error, "strerror", error)
                raise HostsConfigError(
                    f"can't look for hosts of {authority} in {str(root)!r}: {why}"
                ) from None
            return directory
    return None


def load_directory(directory: Path, *, lenient: bool = False) -> tuple[HostEntry, ...]:
    """The hosts of one directory in the order they are tried; the last is the registry's own.

    Raises HostsConfigError where the file can't be understood: going on with the default host
    instead, as containerd does (`lenient`), sends requests where nobody wanted them.
    """
    try:
        text = (directory / "hosts.toml").read_bytes()
    except FileNotFoundError:
        text = b""
    except OSError as error:
        raise HostsConfigError(
            f"can't read {str(directory / 'hosts.toml')!r}: {error.strerror}"
        ) from None
    if not text.strip():
        return (HostEntry(tls=read_certificates(directory)),)
    try:
        entries = parse_hosts(text.decode(), directory)
        if lenient and len(entries) == 1:
            raise HostsConfigError("no host but the server")
        return entries
    except (ValueError, RecursionError, HostsConfigError) as error:
        if lenient:
            return (HostEntry(tls=read_certificates(directory)),)
        raise HostsConfigError(f"{str(directory / 'hosts.toml')!r}: {error}") from None


def parse_hosts(text: str, directory: Path) -> tuple[HostEntry, ...]:
    """Read a hosts.toml: `[host]` tables in file order, then `server` or the default."""
    document = tomllib.loads(text)
    hosts = document.pop("host", {})
    if not isinstance(hosts, dict) or not all(isinstance(host, dict) for host in hosts.values()):
        raise HostsConfigError('[host] must hold tables such as [host."https://mirror.example"]')
    server = document.pop("server", "")
    entries = [_entry(url, table, directory) for url, table in hosts.items()]
    # Keys at the root configure `server`; without it only TLS and headers keep their meaning.
    return (*entries, _entry(_string(server, "server"), document, directory))


def read_certificates(directory: Path) -> TLSOptions | None:
    """The certs.d layout: `*.crt` are CAs, `*.cert` client certificates with `*.key` beside."""
    try:
        files = sorted(path for path in directory.iterdir() if not path.is_dir())
    except OSError as error:
        raise HostsConfigError(f"can't read {str(directory)!r}: {error.strerror}") from None
    authorities = tuple(path for path in files if path.suffix == ".crt")
    pairs = tuple(
        (path, path.with_suffix(".key") if path.with_suffix(".key").exists() else None)
        for path in files
        if path.suffix == ".cert"
    )
    return TLSOptions(authorities, pairs) if authorities or pairs else None


def split_endpoint(url: str) -> tuple[str, str, str]:
    """Scheme, authority and path of an endpoint with a scheme; user info is refused."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise HostsConfigError(f"can't parse endpoint {safe_url(url)!r}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise HostsConfigError(f"endpoint {safe_url(url)!r} must be http(s)://host[:port][/path]")
    return parts.scheme, parts.netloc, parts.path


def _entry(url: str, table: Mapping[str, Any], directory: Path) -> HostEntry:
    scheme = authority = path = ""
    if url:
        scheme, authority, path = split_endpoint(url if "://" in url else f"https://{url}")
        path = _api_root(path, override=_boolean(table, "override_path"))
    capabilities = frozenset(
        capability.lower() for capability in _strings(table.get("capabilities", []), "capabilities")
    )
    if unknown := capabilities - CAPABILITIES - {"referrers"}:
        raise HostsConfigError(f"unknown capability {min(unknown)!r}")
    return HostEntry(
        scheme=scheme,
        authority=authority,
        path=path,
        capabilities=capabilities or CAPABILITIES,
        tls=_tls(table, directory),
        headers=_headers(table.get("header", {})),
        dial_timeout=_duration(table, "dial_timeout"),
    )


def _api_root(path: str, *, override: bool) -> str:
    if not path:
        return "" if override else "/v2"
    path = posixpath.normpath(path).replace("//", "/")
    if override or path.endswith("/v2"):
        return path
    return path.rstrip("/") + "/v2"


def _tls(table: Mapping[str, Any], directory: Path) -> TLSOptions | None:
    if not table.keys() & {"ca", "client", "skip_verify"}:
        return None
    authorities = tuple(directory / file for file in _strings(table.get("ca", []), "ca"))
    pairs: list[tuple[Path, Path | None]] = []
    client = table.get("client", [])
    for item in client if isinstance(client, list) else [client]:
        names = _strings(item, "client")
        if isinstance(item, list) and len(names) != 2:
            raise HostsConfigError('each pair of "client" must be [certificate, key]')
        key = names[1] if len(names) == 2 else ""
        pairs.append((directory / names[0], directory / key if key else None))
    return TLSOptions(authorities, tuple(pairs), _boolean(table, "skip_verify"))


def _headers(table: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, dict):
        raise HostsConfigError("header must be a table")
    return {name: tuple(_strings(value, f"header {name}")) for name, value in table.items()}


def _duration(table: Mapping[str, Any], key: str) -> float | None:
    return parse_duration(_string(table[key], key)) if key in table else None


def _boolean(table: Mapping[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise HostsConfigError(f"{key} must be true or false")
    return value


def _string(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise HostsConfigError(f"{key} must be a string")
    return value


def _strings(value: object, key: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [_string(item, key) for item in values]
