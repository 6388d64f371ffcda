"""What the placeholders of a profile stand for: in a session, and in one request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from conformance.contract import PullRequest
from conformance.profile import Profile, Setting, pullers_dir
from conformance.pullers.hostfiles import (
    HostsForm,
    host_of,
    write_certificates,
    write_docker_config,
    write_hosts_tree,
    write_registries_conf,
)
from conformance.pullers.template import Values, expand

__all__ = [
    "OptionGroups",
    "hosts_form",
    "key_of",
    "request_values",
    "session_values",
    "write_files",
]


def session_values(profile: Profile, directory: Path, programs: Mapping[str, str]) -> Values:
    """Placeholders that hold for a whole session."""
    places = {"dir": directory, "here": profile.here, "pullers": pullers_dir()}
    return Values(programs, {name: str(path) for name, path in places.items()})


def write_files(profile: Profile, values: Values) -> None:
    """Write what ``[files]`` says, below folders that are made as needed."""
    for name, text in profile.table("files").items():
        path = Path(expand(name, values))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(expand(text, values), encoding="utf-8")


def hosts_form(profile: Profile) -> HostsForm:
    """How this puller wants its ``hosts.toml``."""
    form: HostsForm = profile.table("hosts").get("form", "server")
    return form


def key_of(image: str) -> str:
    """A short file name that stands for a reference."""
    return hashlib.sha256(image.encode()).hexdigest()[:16]


def request_values(
    session: Values, profile: Profile, directory: Path, request: PullRequest
) -> Values:
    """Placeholders of one request; those that are files are written when they are first named."""
    auth, trust, limits = request.auth, request.trust, request.limits
    platform = (request.platform or "").split("/")
    plain: dict[str, object] = {
        "image": request.image,
        "key": key_of(request.image),
        "host": host_of(request.image),
        "store": request.store,
        "output": request.output,
        "platform": request.platform,
        "os": platform[0] or None,
        "architecture": platform[1] if len(platform) > 1 else None,
        "variant": platform[2] if len(platform) > 2 else "",
        "ca": trust.ca,
        "client_certificate": trust.client_certificate,
        "client_key": trust.client_key or trust.client_certificate,
        "timeout_s": None if limits.timeout_s is None else f"{limits.timeout_s:g}",
        "progress_timeout_s": (
            None if limits.progress_timeout_s is None else f"{limits.progress_timeout_s:g}"
        ),
        "max_concurrent_downloads": limits.max_concurrent_downloads,
        "proxy": request.proxy,
        "runtime_handler": request.runtime_handler,
    }
    if auth is not None:
        plain |= {
            "username": auth.username or "",
            "password": auth.password or "",
            "auth_encoded": auth.auth,
            "server_address": auth.server_address,
            "identity_token": auth.identity_token,
            "registry_token": auth.registry_token,
        }
    # Files of requests that run side by side must not be each other's: one folder for each store
    # and reference. A hosts tree that a daemon reads is the daemon's own matter.
    folder = directory / "files" / key_of(f"{request.store} {request.image} {request.output}")
    written: dict[str, str | Callable[[], str]] = {
        "hosts_dir": lambda: str(write_hosts_tree(folder / "hosts", request, hosts_form(profile))),
        "cert_dir": lambda: str(write_certificates(folder / "certs", request)),
        "registries_conf": lambda: str(write_registries_conf(folder / "registries.conf", request)),
        "docker_config_dir": lambda: str(write_docker_config(folder / "docker", request)),
    }
    known = {name: str(value) for name, value in plain.items() if value is not None}
    return session.with_(written, known)


class OptionGroups:
    """The option groups that a request asks for, expanded: arguments by slot, and variables."""

    def __init__(
        self, settings: Mapping[str, Setting], request: PullRequest, values: Values
    ) -> None:
        self.slots: dict[str, list[str]] = {}
        self.env: dict[str, str] = {}
        for name in sorted(request.inputs() & settings.keys()):
            setting = settings[name]
            for each in _repeated(name, request, values):
                self.slots.setdefault(setting.slot, []).extend(
                    expand(argument, each) for argument in setting.argv
                )
                self.env.update({key: expand(text, each) for key, text in setting.env.items()})


def _repeated(name: str, request: PullRequest, values: Values) -> Iterator[Values]:
    """Inputs that hold several things give their options once for each of them."""
    if name == "headers":
        for key, value in request.headers.items():
            yield values.with_(header_name=key, header_value=value)
    elif name == "decryption-keys":
        for path in request.decryption_keys:
            yield values.with_(decryption_key=str(path))
    else:
        yield values
