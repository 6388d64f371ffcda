"""The files by which pullers are told about registries: one neutral request, many formats.

``hosts.toml`` trees for containerd, certificate folders and ``registries.conf`` for skopeo and
its family, docker's ``config.json`` for crane and others. All writers are idempotent: a tree is
rewritten as a whole, since pullers read it again for every pull.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from conformance.contract import AuthConfig, HostConfig, PullRequest

__all__ = [
    "HostsForm",
    "Inexpressible",
    "host_of",
    "write_certificates",
    "write_docker_config",
    "write_hosts_tree",
    "write_registries_conf",
]

HostsForm = Literal["server", "host"]
"""How a TLS server is named: by the ``server`` key alone, or by a ``[host]`` table as well."""


class Inexpressible(Exception):  # noqa: N818 - an answer, not a failure of ours
    """The format has no words for an input; the message is the input's name."""


def host_of(image: str) -> str:
    """Host and port of a reference as typed; Docker Hub's where the reference names none."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "docker.io"


def _own_server(request: PullRequest) -> HostConfig:
    """The image's own host as the request describes it."""
    host = host_of(request.image)
    address = "registry-1.docker.io" if host == "docker.io" else host
    return HostConfig(
        url=f"{'http' if request.plain_http else 'https'}://{address}",
        ca=request.trust.ca,
        client_certificate=request.trust.client_certificate,
        client_key=request.trust.client_key,
        skip_verify=request.trust.skip_verify,
        headers=request.headers,
        server=True,
    )


def _by_namespace(request: PullRequest) -> dict[str, list[HostConfig]]:
    """Namespace to its hosts: mirrors in order, the server last."""
    own = host_of(request.image)
    spaces: dict[str, list[HostConfig]] = {own: []}
    for host in request.hosts:
        spaces.setdefault(host.namespace or own, []).append(host)
    if not any(host.server for host in spaces[own]):
        spaces[own].append(_own_server(request))
    return {name: sorted(hosts, key=lambda host: host.server) for name, hosts in spaces.items()}


def write_hosts_tree(root: Path, request: PullRequest, form: HostsForm) -> Path:
    """Write the ``hosts.toml`` tree of this request and return its root.

    With `form` ``host`` the server gets a ``[host]`` table beside the ``server`` key, unless the
    puller's own default is the same: containerd 1.6 ignores a file without tables. The server is
    then in its list twice, so that each failing request is sent once more by accident.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    if request.hosts_tree is not None:
        for name, text in request.hosts_tree.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root
    for namespace, hosts in _by_namespace(request).items():
        folder = root / namespace
        folder.mkdir()
        (folder / "hosts.toml").write_text("".join(_hosts_toml(hosts, form)), encoding="utf-8")
    return root


def _hosts_toml(hosts: list[HostConfig], form: HostsForm) -> Iterable[str]:
    servers = [host for host in hosts if host.server]
    tables = [host for host in hosts if not host.server]
    for server in servers:
        yield f"server = {_toml(server.url)}\n"
        if form == "host" and not _is_default(server, hosts):
            tables.append(server)
        else:
            yield from _keys(server)
            # Root keys end where the first table begins: the headers' table has to be last.
            yield from _header_table("header", server)
    for host in tables:
        yield f"\n[host.{_toml(host.url)}]\n"
        yield from _keys(host)
        yield from _header_table(f"host.{_toml(host.url)}.header", host)


def _is_default(server: HostConfig, hosts: list[HostConfig]) -> bool:
    """Whether containerd 1.6 would do the same without the file, or reads it for its tables."""
    if len(hosts) > 1:
        return True
    if server != HostConfig(server.url, server=True):
        return False
    name = server.url.partition("://")[2].rpartition(":")[0]
    loopback = name == "localhost" or name.startswith("127.") or name == "[::1]"
    return server.url.startswith("http:" if loopback else "https:")


def _keys(host: HostConfig) -> Iterable[str]:
    if host.capabilities is not None:
        yield f"capabilities = [{', '.join(map(_toml, host.capabilities))}]\n"
    if host.ca is not None:
        yield f"ca = {_toml(str(host.ca))}\n"
    if host.client_certificate is not None:
        pair = f"{_toml(str(host.client_certificate))}, {_toml(str(host.client_key or ''))}"
        yield f"client = [[{pair}]]\n"
    if host.skip_verify:
        yield "skip_verify = true\n"
    if host.override_path:
        yield "override_path = true\n"
    if host.dial_timeout_s is not None:
        yield f'dial_timeout = "{host.dial_timeout_s:g}s"\n'


def _header_table(name: str, host: HostConfig) -> Iterable[str]:
    if host.headers:
        yield f"[{name}]\n"
        yield from (f"{_toml(key)} = {_toml(value)}\n" for key, value in host.headers.items())


def _toml(text: str) -> str:
    # JSON's string is a TOML basic string, but for DEL, which no URL or path of ours has.
    return json.dumps(text, ensure_ascii=False)


def write_certificates(folder: Path, request: PullRequest) -> Path:
    """A folder for ``--cert-dir`` options: CAs as ``*.crt``, the pair as ``client.cert/.key``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    authorities = dict.fromkeys(
        ca for ca in (request.trust.ca, *(host.ca for host in request.hosts)) if ca is not None
    )
    for number, ca in enumerate(authorities):
        shutil.copyfile(ca, folder / f"ca{number or ''}.crt")
    if request.trust.client_certificate is not None:
        shutil.copyfile(request.trust.client_certificate, folder / "client.cert")
        key = request.trust.client_key or request.trust.client_certificate
        shutil.copyfile(key, folder / "client.key")
    return folder


def write_registries_conf(path: Path, request: PullRequest) -> Path:
    """``registries.conf`` (version 2) with the request's mirrors.

    Raises `Inexpressible` for what the format can't say of a mirror: headers, an API root, a client
    certificate, and capabilities other than 'all' and 'pull only' (which it knows as
    ``digest-only``).
    """
    lines = []
    for namespace, hosts in _by_namespace(request).items():
        server = hosts[-1] if hosts[-1].server else None
        location = namespace if server is None else _address(server.url)
        plain = server is not None and _insecure(server)
        lines += [
            "[[registry]]\n",
            f"prefix = {_toml(namespace)}\nlocation = {_toml(location)}\n",
            f"insecure = {str(plain).lower()}\n",
        ]
        for host in hosts:
            if host.server:
                continue
            if host.headers or host.override_path or host.client_certificate:
                raise Inexpressible("mirrors")
            lines += [
                "[[registry.mirror]]\n",
                f"location = {_toml(_address(host.url))}\n",
                f"insecure = {str(_insecure(host)).lower()}\n",
            ]
            if host.capabilities is not None and "resolve" not in host.capabilities:
                lines.append('pull-from-mirror = "digest-only"\n')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _address(url: str) -> str:
    return url.partition("://")[2].rstrip("/")


def _insecure(host: HostConfig) -> bool:
    return host.url.startswith("http:") or host.skip_verify


def write_docker_config(folder: Path, request: PullRequest) -> Path:
    """Docker's ``config.json`` in `folder`, with the request's credentials for the image's host."""
    folder.mkdir(parents=True, exist_ok=True)
    auths: Mapping[str, Mapping[str, str]] = {}
    if request.auth is not None:
        auths = {host_of(request.image): _docker_auth(request.auth)}
    text = json.dumps({"auths": auths}, indent=1)
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder


def _docker_auth(auth: AuthConfig) -> dict[str, str]:
    entry = {}
    if auth.username is not None:
        pair = f"{auth.username}:{auth.password or ''}"
        entry["auth"] = base64.b64encode(pair.encode()).decode()
    elif auth.auth is not None:
        entry["auth"] = auth.auth
    if auth.identity_token is not None:
        entry["identitytoken"] = auth.identity_token
        # As `docker login` writes it: some readers ignore an entry without a user.
        entry.setdefault("auth", base64.b64encode(b"<token>:").decode())
    if auth.registry_token is not None:
        entry["registrytoken"] = auth.registry_token
    return entry
